# SPDX-License-Identifier: MIT OR Apache-2.0
"""Debian packages: what a test needs is installed, or the test is skipped."""

import fcntl
import glob
import os
import shutil
import subprocess
import sys
import tempfile

PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"

INSTALL = r"""
export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d made=
if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy && made=1
fi
get() { apt-get -o DPkg::Lock::Timeout=60 install -y --no-install-recommends "$@"; }
get "$@" || { apt-get update && get "$@"; }
status=$?
[ -z "$made" ] || rm -f $policy
exit $status
"""


def need(**programs):
    """Each keyword is a program, its value the Debian package that has it
    (an underscore in the keyword stands for a hyphen).  Installs what is
    missing, without letting it start as a service, or skips the test."""

    install_missing(
        lambda: {
            program.replace("_", "-"): package
            for program, package in programs.items()
            if not which(program.replace("_", "-"))
        }
    )


def need_file(path, package):
    """The same for what is no program."""
    install_missing(lambda: {} if os.path.exists(path) else {path: package})


def install_missing(missing):
    """missing() tells what is lacking, and the package of each."""
    # Test files may run at once, and apt must not.
    with open(os.path.join(tempfile.gettempdir(), "cogo-apt.lock"), "a") as lock:
        if missing():
            fcntl.flock(lock, fcntl.LOCK_EX)
        lacking = missing()
        if not lacking:
            return
        root = [] if os.geteuid() == 0 else ["sudo", "-n"]
        try:
            done = subprocess.run(
                root + ["sh", "-c", INSTALL, "sh", *sorted(set(lacking.values()))],
                stdin=subprocess.DEVNULL,
                timeout=150,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            why = done.stdout.decode(errors="replace")[-800:]
        except (OSError, subprocess.TimeoutExpired) as error:
            why = str(error)
    if missing():
        print(why)
        skip(f"{', '.join(missing())} cannot be had with apt-get, see above")


def which(program):
    # PostgreSQL's lie in a folder for each version.
    own = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
    return shutil.which(program, path=":".join([PATH, *own]))


def skip(why):
    print(f"SKIP: {why}", flush=True)
    sys.exit(77)
