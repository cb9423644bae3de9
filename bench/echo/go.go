// SPDX-License-Identifier: MIT OR Apache-2.0
// go - an echo server with a goroutine for each connection.
//
//	go [--workers N]
//
// What threads.c is, in Go: a goroutine waits in Read until there is something, and
// in Write until there is room. N is GOMAXPROCS. The package net makes the backlog
// what net.core.somaxconn allows, and turns Nagle's algorithm off.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"runtime"
	"syscall"
)

const message = 4096

func serve(c net.Conn) {
	defer c.Close()
	bytes := make([]byte, message)
	for {
		n, err := c.Read(bytes)
		if err != nil {
			return
		}
		if _, err = c.Write(bytes[:n]); err != nil {
			return
		}
	}
}

func raiseDescriptors() {
	var limit syscall.Rlimit

	err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	if err == nil {
		limit.Cur = limit.Max
		err = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	}
	if err != nil {
		log.Fatalln("go: the limit of descriptors:", err)
	}
}

func endWithInput() {
	io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

func main() {
	workers := flag.Int("workers", 1, "GOMAXPROCS")
	flag.Parse()
	if *workers < 1 || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	runtime.GOMAXPROCS(*workers)
	raiseDescriptors()

	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		log.Fatalln("go:", err)
	}
	go endWithInput()
	fmt.Printf("port %d\n", listener.Addr().(*net.TCPAddr).Port)
	for {
		c, err := listener.Accept()
		if err != nil {
			log.Fatalln("go:", err)
		}
		go serve(c)
	}
}
