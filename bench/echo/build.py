#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Builds the echo servers that are not in C, from what Debian packages.

    build.py DIRECTORY

builds echo_go (package golang-go) and echo_tokio (packages cargo and
librust-tokio-dev) there, and keeps there what the builds need. Nothing is
fetched: tokio and the crates it uses are those of /usr/share/cargo/registry,
whatever else the user's cargo is set up for.
"""
import glob
import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
CRATES = '/usr/share/cargo/registry'
SECONDS = 600                    # for one build; a quiet machine needs thirty

# A profile for speed, since this is one small program and built once.
CARGO_TOML = '''\
[package]
name = "echo_tokio"
version = "0.0.0"
edition = "2021"

[[bin]]
name = "echo_tokio"
path = "{source}"

[dependencies]
libc = "0.2"
tokio = {{ version = "1", features = ["io-util", "net", "rt-multi-thread"] }}

[profile.release]
codegen-units = 1
lto = "fat"
panic = "abort"
'''
CARGO_CONFIG = f'''\
[source.crates-io]
replace-with = "debian"

[source.debian]
directory = "{CRATES}"
'''


class Failure(Exception):
    """Why something could not be built, in one sentence."""


def tool(name, package):
    if shutil.which(name) is None:
        raise Failure(f'There is no {name} here (Debian: {package}).')
    return name


def run(command, directory, **variables):
    try:
        done = subprocess.run(command, cwd=directory, text=True,
                              stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=SECONDS,
                              env={**os.environ, **variables})
    except subprocess.TimeoutExpired:
        raise Failure(f'{command[0]} took longer than {SECONDS} s.') from None
    if done.returncode != 0:
        print(done.stdout, end='', file=sys.stderr)
        lines = [line for line in done.stdout.split('\n') if 'error' in line]
        raise Failure(f'{command[0]} failed: '
                      f'{(lines or ["it does not say why"])[0].strip()}')


def write(path, text):
    """Not if it is there already: cargo builds anew what is newer."""
    try:
        with open(path, encoding='utf-8') as f:
            if f.read() == text:
                return
    except OSError:
        pass
    with open(path, 'w', encoding='utf-8') as f:
        f.write(text)


def build_go(out):
    path = os.path.join(out, 'echo_go')
    run([tool('go', 'golang-go'), 'build', '-o', path,
         os.path.join(HERE, 'go.go')], out, GO111MODULE='off', GOFLAGS='',
        GOPROXY='off', GOTOOLCHAIN='local',
        GOCACHE=os.path.join(out, 'go-cache'))
    return path


def build_tokio(out):
    cargo = tool('cargo', 'cargo')
    if not glob.glob(os.path.join(CRATES, 'tokio-1.*')):
        raise Failure(f'There is no tokio in {CRATES} '
                      '(Debian: librust-tokio-dev).')
    package = os.path.join(out, 'tokio')
    os.makedirs(os.path.join(package, '.cargo'), exist_ok=True)
    write(os.path.join(package, 'Cargo.toml'),
          CARGO_TOML.format(source=os.path.join(HERE, 'tokio.rs')))
    write(os.path.join(package, '.cargo', 'config.toml'), CARGO_CONFIG)
    # A lock that another cargo has made may be of a version that this one
    # does not know.
    lock = os.path.join(package, 'Cargo.lock')
    if os.path.exists(lock):
        os.remove(lock)
    run([cargo, 'build', '--release', '--offline'], package,
        CARGO_TARGET_DIR=os.path.join(package, 'target'))
    return shutil.copy2(
        os.path.join(package, 'target', 'release', 'echo_tokio'),
        os.path.join(out, 'echo_tokio'))


def build(out_directory):
    """Builds what can be built: name -> path, or the sentence why not."""
    out = os.path.abspath(out_directory)
    os.makedirs(out, exist_ok=True)
    built = {}
    for name, how in ('go', build_go), ('tokio', build_tokio):
        try:
            built[name] = how(out)
        except Failure as e:
            built[name] = str(e)
    return built


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith('-'):
        sys.exit(__doc__.strip())
    built = build(sys.argv[1])
    for name, path in built.items():
        print(f'{name}: {path}')
    sys.exit(0 if all(os.path.isabs(p) for p in built.values()) else 1)


if __name__ == '__main__':
    main()
