// SPDX-License-Identifier: MIT OR Apache-2.0
//! As many threads as asked for wait until a line comes; see language.py.
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};

fn main() {
    let count: usize = std::env::args().nth(1).unwrap().parse().unwrap();
    let shared = Arc::new((Mutex::new(false), Condvar::new(), AtomicUsize::new(0), AtomicUsize::new(0)));
    let threads: Vec<_> = (0..count)
        .map(|i| {
            let shared = shared.clone();
            std::thread::spawn(move || {
                let held = shared.0.lock().unwrap();
                shared.2.fetch_add(1, SeqCst);
                drop(shared.1.wait_while(held, |go| !*go).unwrap());
                shared.3.fetch_add(1, SeqCst);
                std::thread::sleep(std::time::Duration::from_millis(1));
                i
            })
        })
        .collect();
    while shared.2.load(SeqCst) < count {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    println!("waiting");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    *shared.0.lock().unwrap() = true;
    shared.1.notify_all();
    let sum: usize = threads.into_iter().map(|t| t.join().unwrap()).sum();
    println!("{} {}", sum, shared.3.load(SeqCst));
}
