// SPDX-License-Identifier: MIT OR Apache-2.0

// go.go - the small measurements of micro.h, by Go. workers is GOMAXPROCS; the
// garbage collector runs as it is by default.
package main

import (
	"fmt"
	"os"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

const (
	wave    = 1000
	fanIn   = 10000
	sides   = 4
	room    = 128
	holders = 64
)

// Both channels and times are about int64 here: nanoseconds of the monotonic clock.
var n, turns int64

func number(name string, otherwise int64) int64 {
	for _, arg := range os.Args[2:] {
		if !strings.HasPrefix(arg, name+"=") {
			continue
		}
		x, err := strconv.ParseInt(arg[len(name)+1:], 10, 64)
		if err != nil || x < 1 {
			fmt.Fprintf(os.Stderr, "%s: give a number from 1\n", arg)
			os.Exit(2)
		}
		return x
	}
	return otherwise
}

func check(right bool) {
	if !right {
		panic("a wrong result")
	}
}

var epoch = time.Now()

func now() int64 {
	return int64(time.Since(epoch))
}

// What package syscall has in place of this counts in microseconds.
func cpuTime() int64 {
	const clockProcessCputimeID = 2
	var t syscall.Timespec

	syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clockProcessCputimeID,
		uintptr(unsafe.Pointer(&t)), 0)
	return t.Nano()
}

var wallBegan, cpuBegan int64

func begin() {
	wallBegan = now()
	cpuBegan = cpuTime()
}

func end(ops int64, more string) {
	cpu := cpuTime() - cpuBegan
	wall := now() - wallBegan
	fmt.Printf("{\"ops\": %d, \"wall_ns\": %d, \"cpu_ns\": %d%s}\n", ops, wall, cpu,
		more)
}

func nextRandom(state *uint64) uint64 {
	*state ^= *state << 13
	*state ^= *state >> 7
	*state ^= *state << 17
	return *state
}

func yield(wg *sync.WaitGroup) {
	for i := int64(0); i < turns; i++ {
		runtime.Gosched()
	}
	wg.Done()
}

func rowSwitch() {
	var wg sync.WaitGroup

	n = number("n", 10000000)
	turns = n / 2
	begin()
	wg.Add(2)
	go yield(&wg)
	go yield(&wg)
	wg.Wait()
	end(turns*2, "")
}

func countDown(wg *sync.WaitGroup) {
	wg.Done()
}

func rowSpawn() {
	var wg sync.WaitGroup

	n = number("n", 1000000)
	begin()
	for i := int64(0); i < n; i++ {
		wg.Add(1)
		go countDown(&wg)
		wg.Wait()
	}
	end(n, "")
}

func spawnMany(times, many int64) {
	var wg sync.WaitGroup

	begin()
	for i := int64(0); i < times; i++ {
		wg.Add(int(many))
		for k := int64(0); k < many; k++ {
			go countDown(&wg)
		}
		wg.Wait()
	}
	end(times*many, "")
}

func rowWaves() {
	spawnMany(number("n", 1000000)/wave, wave)
}

func rowFanIn() {
	spawnMany(number("n", 1000000)/fanIn, fanIn)
}

func rowRendezvous() {
	there, back := make(chan int64), make(chan int64)
	done := make(chan int64)

	n = number("n", 1000000)
	begin()
	go func() {
		for x := range there {
			back <- x + 1
		}
	}()
	go func() {
		x := int64(0)
		for i := int64(0); i < n; i++ {
			there <- x
			x = <-back
		}
		close(there)
		done <- x
	}()
	x := <-done
	end(n, "")
	check(x == n)
}

func rowBuffered() {
	var from, to sync.WaitGroup
	var sums [sides]int64
	c := make(chan int64, room)

	n = number("n", 4000000)
	turns = n / sides
	begin()
	from.Add(sides)
	to.Add(sides)
	for i := 0; i < sides; i++ {
		go func() {
			for x := int64(0); x < turns; x++ {
				c <- x
			}
			from.Done()
		}()
		go func(sum *int64) {
			own := int64(0)
			for x := range c {
				own += x
			}
			*sum = own
			to.Done()
		}(&sums[i])
	}
	from.Wait()
	close(c)
	to.Wait()
	end(turns*sides, "")
	check(sums[0]+sums[1]+sums[2]+sums[3] == turns*(turns-1)/2*sides)
}

type channels [64]chan uint64

func sendToAny(c []chan uint64, sum chan uint64) {
	seed, own := uint64(88172645463325252), uint64(0)

	for i := int64(0); i < n; i++ {
		own += nextRandom(&seed)
		c[seed%uint64(len(c))] <- seed
	}
	sum <- own
}

func recvFrom2(c *channels, sum chan uint64) {
	var x, own uint64

	for i := int64(0); i < n; i++ {
		select {
		case x = <-c[0]:
		case x = <-c[1]:
		}
		own += x
	}
	sum <- own
}

func recvFrom8(c *channels, sum chan uint64) {
	var x, own uint64

	for i := int64(0); i < n; i++ {
		select {
		case x = <-c[0]:
		case x = <-c[1]:
		case x = <-c[2]:
		case x = <-c[3]:
		case x = <-c[4]:
		case x = <-c[5]:
		case x = <-c[6]:
		case x = <-c[7]:
		}
		own += x
	}
	sum <- own
}

func recvFrom64(c *channels, sum chan uint64) {
	var x, own uint64

	for i := int64(0); i < n; i++ {
		select {
		case x = <-c[0]:
		case x = <-c[1]:
		case x = <-c[2]:
		case x = <-c[3]:
		case x = <-c[4]:
		case x = <-c[5]:
		case x = <-c[6]:
		case x = <-c[7]:
		case x = <-c[8]:
		case x = <-c[9]:
		case x = <-c[10]:
		case x = <-c[11]:
		case x = <-c[12]:
		case x = <-c[13]:
		case x = <-c[14]:
		case x = <-c[15]:
		case x = <-c[16]:
		case x = <-c[17]:
		case x = <-c[18]:
		case x = <-c[19]:
		case x = <-c[20]:
		case x = <-c[21]:
		case x = <-c[22]:
		case x = <-c[23]:
		case x = <-c[24]:
		case x = <-c[25]:
		case x = <-c[26]:
		case x = <-c[27]:
		case x = <-c[28]:
		case x = <-c[29]:
		case x = <-c[30]:
		case x = <-c[31]:
		case x = <-c[32]:
		case x = <-c[33]:
		case x = <-c[34]:
		case x = <-c[35]:
		case x = <-c[36]:
		case x = <-c[37]:
		case x = <-c[38]:
		case x = <-c[39]:
		case x = <-c[40]:
		case x = <-c[41]:
		case x = <-c[42]:
		case x = <-c[43]:
		case x = <-c[44]:
		case x = <-c[45]:
		case x = <-c[46]:
		case x = <-c[47]:
		case x = <-c[48]:
		case x = <-c[49]:
		case x = <-c[50]:
		case x = <-c[51]:
		case x = <-c[52]:
		case x = <-c[53]:
		case x = <-c[54]:
		case x = <-c[55]:
		case x = <-c[56]:
		case x = <-c[57]:
		case x = <-c[58]:
		case x = <-c[59]:
		case x = <-c[60]:
		case x = <-c[61]:
		case x = <-c[62]:
		case x = <-c[63]:
		}
		own += x
	}
	sum <- own
}

func rowSelect() {
	k := number("k", 2)
	recv := map[int64]func(*channels, chan uint64){2: recvFrom2, 8: recvFrom8,
		64: recvFrom64}[k]
	var c channels
	sent, received := make(chan uint64), make(chan uint64)

	n = number("n", 1000000)
	if recv == nil {
		fmt.Fprintln(os.Stderr, "select: the cases are written out for k=2, 8, 64")
		os.Exit(77)
	}
	for i := range c[:k] {
		c[i] = make(chan uint64)
	}
	begin()
	go recv(&c, received)
	go sendToAny(c[:k], sent)
	x, y := <-sent, <-received
	end(n, "")
	check(x == y)
}

var mutex sync.Mutex
var counter int64

func contend(wg *sync.WaitGroup) {
	for i := int64(0); i < turns; i++ {
		mutex.Lock()
		counter++
		mutex.Unlock()
	}
	wg.Done()
}

func lockBy(holders int64) {
	var wg sync.WaitGroup

	begin()
	wg.Add(int(holders))
	for i := int64(0); i < holders; i++ {
		go contend(&wg)
	}
	wg.Wait()
	end(turns*holders, "")
	check(counter == turns*holders)
}

func rowMutex() {
	turns = number("n", 20000000)
	lockBy(1)
}

func rowContended() {
	turns = number("n", 6400000) / holders
	lockBy(holders)
}

func rowTimers() {
	var wg sync.WaitGroup
	seed := uint64(88172645463325252)

	n = number("n", 100000)
	moments, late := make([]int64, n), make([]int64, n)
	begin()
	wg.Add(int(n))
	for i := range moments {
		moments[i] = now() + int64(nextRandom(&seed)%1000000000)
		go func(moment int64, late *int64) {
			time.Sleep(time.Duration(moment - now()))
			*late = now() - moment
			wg.Done()
		}(moments[i], &late[i])
	}
	made := now()
	wg.Wait()
	endTimers(moments, late, made)
}

// As end_timers of micro.h.
func endTimers(moments, late []int64, made int64) {
	var counted []int64
	var p50, p99 int64

	for i := range moments {
		check(late[i] >= 0)
		if moments[i] >= made {
			counted = append(counted, late[i])
		}
	}
	sort.Slice(counted, func(x, y int) bool { return counted[x] < counted[y] })
	if len(counted) > 0 {
		p50, p99 = counted[len(counted)/2], counted[len(counted)*99/100]
	}
	end(n, fmt.Sprintf(
		", \"late_p50_us\": %.1f, \"late_p99_us\": %.1f, \"made_ms\": %.1f",
		float64(p50)/1e3, float64(p99)/1e3, float64(made-wallBegan)/1e6))
}

func statusKb(what string) int64 {
	text, _ := os.ReadFile("/proc/self/status")
	for _, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, what) {
			kb, _ := strconv.ParseInt(strings.Fields(line)[1], 10, 64)
			return kb
		}
	}
	return 0
}

func rowMemory() {
	var wg sync.WaitGroup
	latch := make(chan struct{})

	n = number("n", 100000)
	wg.Add(int(n))
	rss, tables := statusKb("VmRSS:"), statusKb("VmPTE:")
	begin()
	for i := int64(0); i < n; i++ {
		go func() {
			wg.Done()
			<-latch
		}()
	}
	wg.Wait()
	// The last has counted; that it waits as well takes a moment.
	time.Sleep(10 * time.Millisecond)
	end(n, fmt.Sprintf(", \"rss\": %.1f, \"page_tables\": %.1f",
		float64(statusKb("VmRSS:")-rss)*1024/float64(n),
		float64(statusKb("VmPTE:")-tables)*1024/float64(n)))
	os.Exit(0)
}

func main() {
	rows := map[string]func(){
		"switch": rowSwitch, "spawn": rowSpawn, "waves": rowWaves,
		"fan-in": rowFanIn, "rendezvous": rowRendezvous, "buffered": rowBuffered,
		"select": rowSelect, "mutex": rowMutex, "contended": rowContended,
		"timers": rowTimers, "memory": rowMemory,
	}
	if len(os.Args) < 2 || rows[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "go: no such row here")
		os.Exit(77)
	}
	runtime.GOMAXPROCS(int(number("workers", 1)))
	rows[os.Args[1]]()
}
