// SPDX-License-Identifier: MIT OR Apache-2.0
//! Threads as Rust's standard library has them, whose locks sleep on futexes by
//! number; the output is the same at every run, so two runs can be compared.
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::ffi::CStr;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::raw::c_char;
use std::os::unix::net::UnixStream;
use std::panic;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::*};
use std::sync::mpsc::{self, RecvTimeoutError, TryRecvError, TrySendError};
use std::sync::{Arc, Barrier, Condvar, Mutex, Once, RwLock};
use std::thread;
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(30);

fn all<T: Send + 'static>(n: usize, f: impl Fn(usize) -> T + Send + Sync + 'static) -> Vec<T> {
    let f = Arc::new(f);
    let threads: Vec<_> = (0..n)
        .map(|i| {
            let f = f.clone();
            thread::spawn(move || f(i))
        })
        .collect();
    threads.into_iter().map(|t| t.join().unwrap()).collect()
}

fn late(deadline: Instant) -> bool {
    Instant::now() >= deadline
}

fn channels() {
    let (send, receive) = mpsc::channel();
    let (bounded, taken) = mpsc::sync_channel::<usize>(3);
    let senders: Vec<_> = (0..40)
        .map(|i| {
            let (send, bounded) = (send.clone(), bounded.clone());
            thread::spawn(move || {
                for k in 0..200 {
                    send.send(i * 200 + k).unwrap();
                    if k % 20 == 0 {
                        bounded.send(k).unwrap();
                    }
                }
            })
        })
        .collect();
    drop((send, bounded));
    let counts = thread::spawn(move || taken.iter().sum::<usize>());
    println!("channels: {} {}", receive.iter().sum::<usize>(), counts.join().unwrap());
    senders.into_iter().for_each(|t| t.join().unwrap());

    let (send, receive) = mpsc::channel::<i32>();
    let deadline = Instant::now() + 10 * MS;
    println!("channels: {:?} {}", receive.recv_timeout(10 * MS), late(deadline));
    println!("channels: {:?}", receive.try_recv() == Err(TryRecvError::Empty));
    let waits = thread::spawn(move || receive.recv_timeout(LONG));
    thread::sleep(MS);
    drop(send);
    println!("channels: {:?}", waits.join().unwrap() == Err(RecvTimeoutError::Disconnected));

    let (meet, met) = mpsc::sync_channel(0);
    println!("channels: {:?}", matches!(meet.try_send(1), Err(TrySendError::Full(1))));
    let t = thread::spawn(move || (0..500).map(|_| met.recv().unwrap()).sum::<i32>());
    (0..500).for_each(|i| meet.send(i).unwrap());
    println!("channels: {} {:?}", t.join().unwrap(), meet.send(0).is_err());
}

fn parking() {
    let deadline = Instant::now() + 10 * MS;
    while !late(deadline) {
        thread::park_timeout(deadline - Instant::now());
    }
    let turns = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..50)
        .map(|_| {
            let turns = turns.clone();
            thread::spawn(move || {
                for _ in 0..20 {
                    thread::park();
                    turns.fetch_add(1, SeqCst);
                }
            })
        })
        .collect();
    // A token is kept for who does not wait yet, but only one.
    while !threads.iter().all(|t| t.is_finished()) {
        threads.iter().for_each(|t| t.thread().unpark());
        thread::yield_now();
    }
    println!("parking: {}", turns.load(SeqCst));
}

fn locks() {
    let counts = Arc::new((Mutex::new(0), RwLock::new(0), AtomicBool::new(false), AtomicUsize::new(0)));
    let c = counts.clone();
    let read: usize = all(60, move |i| {
        let mut read = 0;
        for k in 0..100 {
            let mut held = c.0.lock().unwrap();
            let before = *held;
            if k % 25 == 0 {
                thread::yield_now();
            }
            *held = before + 1;
            drop(held);
            if (i + k) % 10 == 0 {
                *c.1.write().unwrap() += 1;
            } else {
                let first = *c.1.read().unwrap();
                read += (*c.1.read().unwrap() >= first) as usize;
            }
            // A spin lock, as people write them.
            while c.2.compare_exchange_weak(false, true, Acquire, Relaxed).is_err() {
                thread::yield_now();
            }
            c.3.store(c.3.load(Relaxed) + 1, Relaxed);
            c.2.store(false, Release);
        }
        read
    })
    .iter()
    .sum();
    println!("locks: {} {} {} {}", counts.0.lock().unwrap(), counts.1.read().unwrap(), counts.3.load(Relaxed), read);

    let turn = Arc::new((Mutex::new(0), Condvar::new()));
    let t = turn.clone();
    let order = all(100, move |i| {
        let held = t.1.wait_while(t.0.lock().unwrap(), |turn| *turn != i).unwrap();
        let mut held = held;
        *held += 1;
        t.1.notify_all();
        *held
    });
    println!("locks: {}", order == (1..=100).collect::<Vec<_>>());
    let deadline = Instant::now() + 10 * MS;
    let (held, waited) = turn.1.wait_timeout_while(turn.0.lock().unwrap(), 10 * MS, |_| true).unwrap();
    println!("locks: {} {} {}", *held, waited.timed_out(), late(deadline));
    println!("locks: {}", turn.0.try_lock().is_err());
    drop(held);

    let t = turn.clone();
    println!("locks: {}", thread::spawn(move || { let _held = t.0.lock().unwrap(); panic!("poisons") }).join().is_err());
    println!("locks: {} {}", turn.0.is_poisoned(), turn.0.lock().unwrap_err().into_inner());

    let barrier = Arc::new(Barrier::new(40));
    let leaders: usize = all(40, move |_| (0..30).filter(|_| barrier.wait().is_leader()).count()).iter().sum();
    println!("locks: {} leaders", leaders);

    static ONCE: Once = Once::new();
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let seen = all(50, |_| {
        ONCE.call_once(|| {
            thread::sleep(2 * MS);
            CALLS.fetch_add(1, SeqCst);
        });
        CALLS.load(SeqCst)
    });
    println!("locks: once {}", seen.iter().all(|&n| n == 1));
    let failing = Once::new();
    let _ = panic::catch_unwind(panic::AssertUnwindSafe(|| failing.call_once(|| panic!("in once"))));
    println!("locks: {}", panic::catch_unwind(panic::AssertUnwindSafe(|| failing.call_once(|| ()))).is_err());
    failing.call_once_force(|state| println!("locks: once poisoned {}", state.is_poisoned()));
}

struct Last(usize);
static GONE: AtomicUsize = AtomicUsize::new(0);
impl Drop for Last {
    fn drop(&mut self) {
        thread::yield_now();
        GONE.fetch_add(self.0, SeqCst);
    }
}
thread_local! {
    static OWN: RefCell<Vec<usize>> = RefCell::new(Vec::new());
    static COUNT: Cell<usize> = Cell::new(0);
    static LAST: RefCell<Last> = RefCell::new(Last(0));
}

extern "C" {
    fn pthread_self() -> usize;
    fn pthread_getname_np(thread: usize, name: *mut c_char, size: usize) -> i32;
}

/// The one that the system knows the thread by.
fn name_below() -> String {
    let mut name = [0 as c_char; 16];
    unsafe {
        pthread_getname_np(pthread_self(), name.as_mut_ptr(), name.len());
        CStr::from_ptr(name.as_ptr()).to_string_lossy().into_owned()
    }
}

fn locals() {
    let own = all(300, |i| {
        LAST.with(|l| l.borrow_mut().0 = 1);
        for k in 0..10 {
            OWN.with(|o| o.borrow_mut().push(i * k));
            COUNT.with(|c| c.set(c.get() + i));
            if k % 3 == 0 {
                thread::sleep(MS / 4);
            }
        }
        OWN.with(|o| o.borrow().iter().sum::<usize>()) + COUNT.with(|c| c.get())
    });
    println!("locals: {}", own == (0..300).map(|i| 45 * i + 10 * i).collect::<Vec<_>>());
    println!("locals: {} gone", GONE.load(SeqCst));
    let ids: HashSet<_> = all(300, |_| thread::current().id()).into_iter().collect();
    println!("locals: {} ids", ids.len());
    let names: Vec<_> = (0..5)
        .map(|i| {
            thread::Builder::new()
                .name(format!("thread {}", i))
                .stack_size(64 << (2 * i + 10))
                .spawn(|| format!("{} {}", thread::current().name().unwrap(), name_below()))
                .unwrap()
        })
        .map(|t| t.join().unwrap())
        .collect();
    println!("locals: {:?} {:?}", names, thread::current().name());
    println!("locals: {}", thread::available_parallelism().unwrap().get() > 0);
}

fn panics() {
    static TOLD: AtomicUsize = AtomicUsize::new(0);
    let usual = panic::take_hook();
    panic::set_hook(Box::new(|_| drop(TOLD.fetch_add(1, SeqCst))));
    let results: Vec<_> = (0..60)
        .map(|i| {
            thread::spawn(move || {
                let caught = panic::catch_unwind(|| {
                    let _last = Last(1000);
                    thread::sleep(MS);
                    if i % 3 == 0 {
                        panic::panic_any(i)
                    }
                    i
                });
                match caught {
                    Ok(i) if i % 3 == 1 => panic!("{} leaves", i),
                    Ok(i) => i,
                    Err(what) => panic::resume_unwind(Box::new(format!("again {:?}", what.downcast_ref::<i32>()))),
                }
            })
        })
        .map(|t| t.join().unwrap_or_else(|what| -(what.downcast::<String>().unwrap().len() as i32)))
        .collect();
    println!("panics: {:?}", results);
    println!("panics: {} {} {}", GONE.load(SeqCst), TOLD.load(SeqCst), thread::panicking());
    panic::set_hook(usual);
}

fn scopes() {
    let mut numbers = vec![0; 64];
    let total = AtomicUsize::new(0);
    thread::scope(|scope| {
        for (i, part) in numbers.chunks_mut(4).enumerate() {
            let total = &total;
            scope.spawn(move || {
                thread::sleep(MS);
                part.iter_mut().for_each(|n| *n = i);
                scope.spawn(move || total.fetch_add(i, SeqCst));
            });
        }
        println!("scopes: {}", scope.spawn(|| "a result").join().unwrap());
    });
    println!("scopes: {} {}", numbers.iter().sum::<usize>(), total.load(SeqCst));
    let thrown = panic::catch_unwind(|| thread::scope(|s| { s.spawn(|| panic!("in a scope")); }));
    println!("scopes: {}", thrown.is_err());
}

fn sockets() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    thread::spawn(move || {
        for peer in listener.incoming() {
            thread::spawn(move || {
                let mut writer = peer.as_ref().unwrap().try_clone().unwrap();
                for line in BufReader::new(peer.unwrap()).lines() {
                    writeln!(writer, "{}", line.unwrap().to_uppercase()).unwrap();
                }
            });
        }
    });
    let right = all(100, move |i| {
        let stream = TcpStream::connect_timeout(&at, LONG).unwrap();
        let (mut reader, mut writer) = (BufReader::new(stream.try_clone().unwrap()), stream);
        for k in 0..10 {
            let mut line = String::new();
            write!(writer, "client {} {}\n", i, k).unwrap();
            reader.read_line(&mut line).unwrap();
            assert_eq!(line, format!("CLIENT {} {}\n", i, k));
        }
        writer.shutdown(Shutdown::Write).unwrap();
        reader.read_to_end(&mut Vec::new()).unwrap()
    });
    println!("sockets: {}", right.iter().sum::<usize>());

    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut bytes = [0; 100];
    udp.set_read_timeout(Some(10 * MS)).unwrap();
    let deadline = Instant::now() + 9 * MS;
    println!("sockets: {:?} {}", udp.recv(&mut bytes).unwrap_err().kind(), late(deadline));
    udp.set_read_timeout(None).unwrap();
    let to = udp.local_addr().unwrap();
    let other = thread::spawn(move || {
        let own = UdpSocket::bind("127.0.0.1:0").unwrap();
        own.send_to(b"question", to).unwrap();
        let mut bytes = [0; 100];
        let n = own.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..n]).into_owned()
    });
    let (n, from) = udp.recv_from(&mut bytes).unwrap();
    udp.send_to(&bytes[..n / 2], from).unwrap();
    println!("sockets: {}", other.join().unwrap());
    udp.set_nonblocking(true).unwrap();
    println!("sockets: {}", udp.recv(&mut bytes).unwrap_err().kind() == ErrorKind::WouldBlock);

    let (mut a, mut b) = UnixStream::pair().unwrap();
    let reads = thread::spawn(move || {
        let mut all = Vec::new();
        b.read_to_end(&mut all).unwrap();
        all.iter().map(|&c| c as usize).sum::<usize>()
    });
    a.write_all(&vec![3; 1_000_000]).unwrap();
    drop(a);
    println!("sockets: {}", reads.join().unwrap());
}

fn processes() {
    let seen = all(20, |i| {
        let mut child = Command::new("sh")
            .args(["-c", "cat; echo err >&2; exit $N"])
            .env("N", i.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let feeds = thread::spawn(move || stdin.write_all(&vec![b'x'; 200_000]).unwrap());
        let output = child.wait_with_output().unwrap();
        feeds.join().unwrap();
        (output.status.code(), output.stdout.len(), output.stderr.len())
    });
    println!("processes: {:?}", seen);
    let mut sleeps = Command::new("sleep").arg("60").spawn().unwrap();
    println!("processes: {:?}", sleeps.try_wait().unwrap());
    sleeps.kill().unwrap();
    println!("processes: {}", sleeps.wait().unwrap());
}

fn dive(n: usize) -> usize {
    let room = [n; 64];
    if unsafe { std::ptr::read_volatile(&room[n % 64]) } != n {
        return 0;
    }
    dive(n + 1) + room[n % 64]
}

fn main() {
    if std::env::args().nth(1).as_deref() == Some("overflow") {
        // The runtime has a handler for this, which knows the thread by its guard.
        let t = thread::Builder::new().name("diver".to_string());
        t.spawn(|| dive(0)).unwrap().join().unwrap();
        return;
    }
    channels();
    parking();
    locks();
    locals();
    panics();
    scopes();
    sockets();
    processes();
    // Some are left asleep, and it ends by one that is not the main thread.
    for _ in 0..20 {
        thread::spawn(|| thread::sleep(LONG));
    }
    thread::spawn(|| std::process::exit(7)).join().unwrap();
}
