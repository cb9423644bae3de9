// SPDX-License-Identifier: MIT OR Apache-2.0
//! tokio.rs - the small measurements of micro.h, by tokio: a runtime of one thread, or
//! with workers=2 and more one of so many. Another key: by=select or by=streams, how
//! select receives: by tokio::select!, which asks each channel, the default up to 8, or
//! by futures' select_all of streams, which asks those that woke it.

#![recursion_limit = "256"]

use futures_util::stream::{poll_fn, select_all, StreamExt};
use std::future::Future;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::sync::{mpsc, Mutex, Notify};
use tokio::task::{spawn, yield_now};
use tokio::time::{sleep, sleep_until, Instant};

const WAVE: usize = 1000;
const FAN_IN: usize = 10000;
const SIDES: usize = 4;
const ROOM: usize = 128;
const HOLDERS: usize = 64;
const SEED: u64 = 88172645463325252;

fn key(name: &str) -> Option<String> {
    std::env::args()
        .skip(2)
        .find_map(|arg| Some(arg.strip_prefix(name)?.strip_prefix('=')?.to_string()))
}

fn number(name: &str, otherwise: usize) -> usize {
    match key(name).map(|text| text.parse()) {
        None => otherwise,
        Some(Ok(n)) if n >= 1 => n,
        _ => {
            eprintln!("{}: give a number from 1", name);
            std::process::exit(2)
        }
    }
}

fn clock_ns(clock: libc::clockid_t) -> i64 {
    let mut t = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    unsafe { libc::clock_gettime(clock, &mut t) };
    t.tv_sec * 1_000_000_000 + t.tv_nsec
}

/// When a measurement began, by both clocks.
struct Began {
    wall: i64,
    cpu: i64,
}

fn begin() -> Began {
    Began {
        wall: clock_ns(libc::CLOCK_MONOTONIC),
        cpu: clock_ns(libc::CLOCK_PROCESS_CPUTIME_ID),
    }
}

impl Began {
    /// Prints the line; more is empty, or what else stands in it.
    fn end(&self, ops: usize, more: &str) {
        let cpu = clock_ns(libc::CLOCK_PROCESS_CPUTIME_ID) - self.cpu;
        let wall = clock_ns(libc::CLOCK_MONOTONIC) - self.wall;
        println!(
            "{{\"ops\": {}, \"wall_ns\": {}, \"cpu_ns\": {}{}{}}}",
            ops,
            wall,
            cpu,
            if more.is_empty() { "" } else { ", " },
            more
        );
    }
}

fn next_random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// What lives as long as the program is borrowed by tasks, and costs them no count.
fn forever<T>(x: T) -> &'static T {
    Box::leak(Box::new(x))
}

async fn row_switch() {
    let n = number("n", 10_000_000);
    let turns = n / 2;
    let take_turns = move || async move {
        for _ in 0..turns {
            yield_now().await;
        }
    };
    let began = begin();
    let (a, b) = (spawn(take_turns()), spawn(take_turns()));
    a.await.unwrap();
    b.await.unwrap();
    began.end(turns * 2, "");
}

async fn row_spawn() {
    let n = number("n", 1_000_000);
    let began = begin();
    for _ in 0..n {
        spawn(async {}).await.unwrap();
    }
    began.end(n, "");
}

async fn row_waves() {
    let waves = number("n", 1_000_000) / WAVE;
    let mut wave = Vec::with_capacity(WAVE);
    let began = begin();
    for _ in 0..waves {
        for _ in 0..WAVE {
            wave.push(spawn(async {}));
        }
        for task in wave.drain(..) {
            task.await.unwrap();
        }
    }
    began.end(waves * WAVE, "");
}

/// Who counts down to zero notifies the one who waits.
struct WaitGroup {
    left: AtomicUsize,
    zero: Notify,
}

impl WaitGroup {
    fn new() -> WaitGroup {
        WaitGroup {
            left: AtomicUsize::new(0),
            zero: Notify::new(),
        }
    }

    fn add(&self, n: usize) {
        self.left.fetch_add(n, Ordering::Relaxed);
    }

    fn done(&self) {
        // AcqRel: the last one hands on what the others did before it.
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.zero.notify_one();
        }
    }

    /// Once for each time that the count comes to zero.
    async fn wait(&self) {
        self.zero.notified().await;
    }
}

async fn row_fan_in() {
    let times = number("n", 1_000_000) / FAN_IN;
    let wg = forever(WaitGroup::new());
    let began = begin();
    for _ in 0..times {
        wg.add(FAN_IN);
        for _ in 0..FAN_IN {
            spawn(async move { wg.done() });
        }
        wg.wait().await;
    }
    began.end(times * FAN_IN, "");
}

async fn row_rendezvous() {
    let n = number("n", 1_000_000) as u64;
    let (there, mut from_there) = mpsc::channel::<u64>(1);
    let (back, mut from_back) = mpsc::channel::<u64>(1);
    let began = begin();
    let answer = spawn(async move {
        while let Some(x) = from_there.recv().await {
            back.send(x + 1).await.unwrap();
        }
    });
    let call = spawn(async move {
        let mut x = 0;
        for _ in 0..n {
            there.send(x).await.unwrap();
            x = from_back.recv().await.unwrap();
        }
        x
    });
    let x = call.await.unwrap();
    answer.await.unwrap();
    began.end(
        n as usize,
        "\"note\": \"mpsc with room for 1: none hands over\"",
    );
    assert_eq!(x, n);
}

async fn row_buffered() {
    let turns = number("n", 4_000_000) / SIDES;
    let (tx, rx) = async_channel::bounded::<u64>(ROOM);
    let began = begin();
    let mut from = Vec::new();
    let mut to = Vec::new();
    for _ in 0..SIDES {
        let (tx, rx) = (tx.clone(), rx.clone());
        from.push(spawn(async move {
            for x in 0..turns as u64 {
                tx.send(x).await.unwrap();
            }
        }));
        to.push(spawn(async move {
            let mut sum = 0;
            while let Ok(x) = rx.recv().await {
                sum += x;
            }
            sum
        }));
    }
    for task in from {
        task.await.unwrap();
    }
    tx.close();
    let mut sum = 0;
    for task in to {
        sum += task.await.unwrap();
    }
    began.end(
        turns * SIDES,
        "\"note\": \"async-channel: tokio has none of many receivers\"",
    );
    let turns = turns as u64;
    assert_eq!(sum, turns * (turns - 1) / 2 * SIDES as u64);
}

macro_rules! recv_from {
    ($name:ident: $($rx:ident)*) => {
        async fn $name(rx: &mut [mpsc::Receiver<u64>], n: usize) -> u64 {
            let mut sum = 0u64;
            if let [$($rx),*] = rx {
                for _ in 0..n {
                    let x = tokio::select! { $(x = $rx.recv() => x),* };
                    sum = sum.wrapping_add(x.unwrap());
                }
            }
            sum
        }
    };
}

recv_from!(recv_from_2: a b);
recv_from!(recv_from_8: a b c d e f g h);
recv_from!(recv_from_64:
    a0 a1 a2 a3 a4 a5 a6 a7 b0 b1 b2 b3 b4 b5 b6 b7
    c0 c1 c2 c3 c4 c5 c6 c7 d0 d1 d2 d3 d4 d5 d6 d7
    e0 e1 e2 e3 e4 e5 e6 e7 f0 f1 f2 f3 f4 f5 f6 f7
    g0 g1 g2 g3 g4 g5 g6 g7 h0 h1 h2 h3 h4 h5 h6 h7);

async fn recv_from_streams(rx: Vec<mpsc::Receiver<u64>>, n: usize) -> u64 {
    let mut sum = 0u64;
    let mut all = select_all(
        rx.into_iter()
            .map(|mut rx| poll_fn(move |cx| rx.poll_recv(cx))),
    );
    for _ in 0..n {
        sum = sum.wrapping_add(all.next().await.unwrap());
    }
    sum
}

async fn row_select() {
    let n = number("n", 1_000_000);
    let k = number("k", 2);
    if ![2, 8, 64].contains(&k) {
        eprintln!("select: the cases are written out for k=2, 8, 64");
        std::process::exit(77);
    }
    let streams = key("by").map_or(k > 8, |by| by == "streams");
    let (tx, mut rx): (Vec<_>, Vec<_>) = (0..k).map(|_| mpsc::channel::<u64>(1)).unzip();
    let began = begin();
    let recv = spawn(async move {
        match k {
            _ if streams => recv_from_streams(rx, n).await,
            2 => recv_from_2(&mut rx, n).await,
            8 => recv_from_8(&mut rx, n).await,
            _ => recv_from_64(&mut rx, n).await,
        }
    });
    let send = spawn(async move {
        let (mut seed, mut sum) = (SEED, 0u64);
        for _ in 0..n {
            sum = sum.wrapping_add(next_random(&mut seed));
            tx[(seed % k as u64) as usize].send(seed).await.unwrap();
        }
        // A channel whose sender is gone would be received from for ever.
        (sum, tx)
    });
    let received = recv.await.unwrap();
    let (sent, _tx) = send.await.unwrap();
    began.end(n, "\"note\": \"mpsc with room for 1: none hands over\"");
    assert_eq!(sent, received);
}

async fn contend(counter: &Mutex<usize>, turns: usize) {
    for _ in 0..turns {
        *counter.lock().await += 1;
    }
}

async fn row_mutex() {
    let n = number("n", 20_000_000);
    let counter = Mutex::new(0);
    let began = begin();
    contend(&counter, n).await;
    began.end(n, "");
    assert_eq!(*counter.lock().await, n);
}

async fn row_contended() {
    let turns = number("n", 6_400_000) / HOLDERS;
    let counter = forever(Mutex::new(0));
    let began = begin();
    let holders: Vec<_> = (0..HOLDERS)
        .map(|_| spawn(contend(counter, turns)))
        .collect();
    for task in holders {
        task.await.unwrap();
    }
    began.end(turns * HOLDERS, "");
    assert_eq!(*counter.lock().await, turns * HOLDERS);
}

async fn row_timers() {
    let n = number("n", 100_000);
    let mut seed = SEED;
    let mut moments = Vec::with_capacity(n);
    let late: &'static [AtomicI64] = forever((0..n).map(|_| AtomicI64::new(0)).collect::<Vec<_>>());
    let wg = forever(WaitGroup::new());
    let began = begin();
    wg.add(n);
    for late in late {
        let moment = Instant::now() + Duration::from_nanos(next_random(&mut seed) % 1_000_000_000);
        moments.push(moment);
        spawn(async move {
            sleep_until(moment).await;
            let by = Instant::now().checked_duration_since(moment).unwrap();
            late.store(by.as_nanos() as i64, Ordering::Relaxed);
            wg.done();
        });
    }
    let made = Instant::now();
    let made_ms = (clock_ns(libc::CLOCK_MONOTONIC) - began.wall) as f64 / 1e6;
    wg.wait().await;
    // As end_timers of micro.h.
    let mut counted: Vec<i64> = (moments.iter().zip(late))
        .filter(|(moment, _)| **moment >= made)
        .map(|(_, late)| late.load(Ordering::Relaxed))
        .collect();
    counted.sort_unstable();
    let late_us = |i: usize| *counted.get(i).unwrap_or(&0) as f64 / 1e3;
    began.end(
        n,
        &format!(
            "\"late_p50_us\": {:.1}, \"late_p99_us\": {:.1}, \"made_ms\": {:.1}",
            late_us(counted.len() / 2),
            late_us(counted.len() * 99 / 100),
            made_ms
        ),
    );
}

fn status_kb(what: &str) -> i64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    text.lines()
        .find_map(|line| {
            line.strip_prefix(what)?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        })
        .unwrap_or(0)
}

async fn row_memory() {
    let n = number("n", 100_000);
    let wg = forever(WaitGroup::new());
    let latch = forever(Notify::new());
    wg.add(n);
    let (rss, tables) = (status_kb("VmRSS:"), status_kb("VmPTE:"));
    let began = begin();
    for _ in 0..n {
        spawn(async move {
            wg.done();
            latch.notified().await;
        });
    }
    wg.wait().await;
    // The last has counted; that it waits as well takes a moment.
    sleep(Duration::from_millis(10)).await;
    let each = |kb: i64| kb as f64 * 1024.0 / n as f64;
    began.end(
        n,
        &format!(
            "\"rss\": {:.1}, \"page_tables\": {:.1}",
            each(status_kb("VmRSS:") - rss),
            each(status_kb("VmPTE:") - tables)
        ),
    );
    std::process::exit(0);
}

/// The row is a task like another: what block_on() runs itself no worker runs.
fn run(row: impl Future<Output = ()> + Send + 'static) {
    let workers = number("workers", 1);
    let mut builder = if workers == 1 {
        Builder::new_current_thread()
    } else {
        Builder::new_multi_thread()
    };
    if workers > 1 {
        builder.worker_threads(workers);
    }
    let runtime = builder.enable_time().build().unwrap();
    runtime.block_on(async { spawn(row).await.unwrap() });
}

fn main() {
    match std::env::args().nth(1).unwrap_or_default().as_str() {
        "switch" => run(row_switch()),
        "spawn" => run(row_spawn()),
        "waves" => run(row_waves()),
        "fan-in" => run(row_fan_in()),
        "rendezvous" => run(row_rendezvous()),
        "buffered" => run(row_buffered()),
        "select" => run(row_select()),
        "mutex" => run(row_mutex()),
        "contended" => run(row_contended()),
        "timers" => run(row_timers()),
        "memory" => run(row_memory()),
        row => {
            eprintln!("tokio: no row {} here", row);
            std::process::exit(77);
        }
    }
}
