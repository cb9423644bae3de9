#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""build.py - builds the small measurements, for each system that is there.

    build.py OUT COGO_BUILD

OUT gets one program for each peer; COGO_BUILD is where meson built libcogo.so. The
peers come from Debian's packages: golang-go; libboost-fiber-dev; libpth-dev; rustc,
cargo, librust-tokio-dev, librust-async-channel-dev and librust-futures-util-dev.
Nothing is fetched. CC, CXX and GO name other compilers.
"""
import os
import shlex
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
INCLUDE = os.path.join(HERE, '../../include')
CRATES = '/usr/share/cargo/registry'    # where Debian's packages put them

# All that a Rust program may be made faster by without a change to it: what costs
# little is inlined from one crate into another.
CARGO_TOML = '''\
[package]
name = "micro-tokio"
version = "0.0.0"
edition = "2021"

[[bin]]
name = "micro-tokio"
path = "{source}"

[dependencies]
async-channel = "1"
libc = "0.2"

[dependencies.futures-util]
version = "0.3"
default-features = false
features = ["std"]

[dependencies.tokio]
version = "1"
features = ["macros", "parking_lot", "rt-multi-thread", "sync", "time"]

[profile.release]
lto = "fat"
codegen-units = 1
'''
CARGO_CONFIG = '''\
[source.crates-io]
replace-with = "debian"

[source.debian]
directory = "{crates}"
'''


class CannotBuild(Exception):
    """A sentence why not."""


def source(name):
    return os.path.join(HERE, name)


def run(command, say, **more):
    say(shlex.join(command))
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, errors='replace', check=False, **more)
    except OSError as error:
        raise CannotBuild(f'{command[0]}: {error.strerror}') from None
    if done.stdout.strip():
        say(done.stdout.strip())
    if done.returncode:
        lines = done.stdout.splitlines() or ['it does not say why']
        errors = [l for l in lines if 'error' in l.lower() or 'cannot' in l]
        raise CannotBuild(f'{command[0]} ends with {done.returncode}: '
                          + (errors or lines)[0].strip())


def compile_by(compiler, out, name, arguments, say):
    """A C or C++ program; compiler may be several words."""
    program = os.path.join(out, name.split('.')[0])
    run([*shlex.split(compiler), '-O2', '-Wall', '-Wextra', '-o', program,
         source(name), *arguments], say)
    return program


def build_cogo(out, cogo_build, say):
    where = os.path.abspath(cogo_build)
    return compile_by(os.environ.get('CC', 'gcc'), out, 'cogo.c',
                      ['-I', INCLUDE, '-L', where, '-lcogo', '-Wl,-rpath,' + where],
                      say)


def build_nptl(out, _, say):
    return compile_by(os.environ.get('CC', 'gcc'), out, 'nptl.c', ['-pthread'], say)


def build_pth(out, _, say):
    return compile_by(os.environ.get('CC', 'gcc'), out, 'pth.c', ['-lpth'], say)


def build_boost(out, _, say):
    return compile_by(os.environ.get('CXX', 'g++'), out, 'boost.cpp',
                      ['-lboost_fiber', '-lboost_context', '-pthread'], say)


def build_go(out, _, say):
    program = os.path.join(out, 'go')
    env = {**os.environ, 'GOCACHE': os.path.join(out, 'go-cache'), 'GOFLAGS': ''}
    run([os.environ.get('GO', 'go'), 'build', '-o', program, source('go.go')], say,
        env=env)
    return program


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w', encoding='utf-8') as f:
        f.write(text)


def build_tokio(out, _, say):
    where = os.path.join(out, 'tokio-build')
    # Debian's own, since another one in PATH may be too new for its crates.
    cargo = shutil.which('cargo', path='/usr/bin') or shutil.which('cargo')
    if not cargo:
        raise CannotBuild('there is no cargo')
    if not os.path.isdir(CRATES):
        raise CannotBuild(f'there is no {CRATES}')
    write(os.path.join(where, 'Cargo.toml'), CARGO_TOML.format(source=source('tokio.rs')))
    write(os.path.join(where, '.cargo/config.toml'), CARGO_CONFIG.format(crates=CRATES))
    env = {**os.environ, 'CARGO_HOME': os.path.join(where, 'home'),
           'CARGO_TARGET_DIR': os.path.join(where, 'target'),
           'RUSTC': os.path.join(os.path.dirname(cargo), 'rustc')}
    run([cargo, 'build', '--offline', '--release'], say, cwd=where, env=env)
    program = os.path.join(out, 'tokio')
    shutil.copy2(os.path.join(where, 'target/release/micro-tokio'), program)
    return program


BUILDERS = {'cogo': build_cogo, 'nptl': build_nptl, 'go': build_go,
            'boost': build_boost, 'pth': build_pth, 'tokio': build_tokio}


def build(out, cogo_build, say=lambda text: None):
    """{peer: the path of its program, or a sentence why there is none}."""
    out = os.path.abspath(out)
    os.makedirs(out, exist_ok=True)
    built = {}
    for peer, build_peer in BUILDERS.items():
        try:
            built[peer] = build_peer(out, cogo_build, say)
        except CannotBuild as why:
            built[peer] = f'{peer} cannot be built: {why}'
    return built


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__.strip())
    for peer, what in build(sys.argv[1], sys.argv[2], print).items():
        print(f'{peer}: {what}')


if __name__ == '__main__':
    main()
