// SPDX-License-Identifier: MIT OR Apache-2.0
//! tokio - an echo server with a task for each connection.
//!
//!     tokio [--workers N]
//!
//! What threads.c is, in async Rust: a task awaits read until there is something,
//! and write_all until there is room. One worker is the runtime that has no other
//! thread, which is the cheaper one; several are the one that steals work.
use std::io::{self, Read, Write};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::{Builder, Runtime};

const MESSAGE: usize = 4096;
/// The kernel makes it less where net.core.somaxconn is.
const BACKLOG: u32 = 16384;

async fn serve(mut connection: TcpStream) {
    let mut bytes = [0; MESSAGE];

    while let Ok(n) = connection.read(&mut bytes).await {
        if n == 0 || connection.write_all(&bytes[..n]).await.is_err() {
            break;
        }
    }
}

async fn accept_all(listener: TcpListener) -> io::Result<()> {
    loop {
        let (connection, _) = listener.accept().await?;

        // It can only fail on a connection that has ended, as serve will see.
        let _ = connection.set_nodelay(true);
        tokio::spawn(serve(connection));
    }
}

fn raise_descriptors() -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };

    // SAFETY: both only use the structure for as long as they run.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) != 0 {
            return Err(io::Error::last_os_error());
        }
        limit.rlim_cur = limit.rlim_max;
        if libc::setrlimit(libc::RLIMIT_NOFILE, &limit) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

fn end_with_input() {
    let mut bytes = [0; 256];

    while matches!(io::stdin().read(&mut bytes), Ok(n) if n > 0) {}
    std::process::exit(0);
}

async fn run() -> io::Result<()> {
    raise_descriptors()?;
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    let listener = socket.listen(BACKLOG)?;

    std::thread::spawn(end_with_input);
    println!("port {}", listener.local_addr()?.port());
    io::stdout().flush()?;
    // A task too, so that one of the workers accepts.
    tokio::spawn(accept_all(listener)).await?
}

fn runtime(workers: usize) -> io::Result<Runtime> {
    if workers == 1 {
        Builder::new_current_thread().enable_io().build()
    } else {
        Builder::new_multi_thread().worker_threads(workers).enable_io().build()
    }
}

/// What comes after --workers, or 1; None if it is not to be understood.
fn workers() -> Option<usize> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();

    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Some(1),
        ["--workers", n] => n.parse().ok().filter(|n| *n > 0),
        _ => None,
    }
}

fn main() -> io::Result<()> {
    match workers() {
        Some(n) => runtime(n)?.block_on(run()),
        None => {
            eprintln!("usage: tokio [--workers N]");
            std::process::exit(2);
        }
    }
}
