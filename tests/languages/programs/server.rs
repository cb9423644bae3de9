// SPDX-License-Identifier: MIT OR Apache-2.0
//! A thread for each connection; see language.py for what it answers.
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

fn serve(mut peer: TcpStream, total: &Mutex<usize>) -> std::io::Result<()> {
    let reader = BufReader::new(peer.try_clone()?);
    for (count, line) in reader.lines().enumerate() {
        match line?.as_str() {
            "quit" => std::process::exit(5),
            "total" => writeln!(peer, "{}", total.lock().unwrap())?,
            line => {
                *total.lock().unwrap() += 1;
                let backwards: String = line.chars().rev().collect();
                peer.write_all(format!("{} {}\n", count + 1, backwards).as_bytes())?;
            }
        }
    }
    Ok(())
}

fn main() {
    let port = std::env::args().nth(1).unwrap();
    let listener = TcpListener::bind(format!("127.0.0.1:{}", port)).unwrap();
    let total = Arc::new(Mutex::new(0));
    for peer in listener.incoming() {
        let total = total.clone();
        std::thread::spawn(move || serve(peer.unwrap(), &total).unwrap());
    }
}
