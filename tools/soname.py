#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""soname - under which name does a library want to be found?

    soname.py libx.so COMPILER...

Prints the soname of the library that the compiler would link: what follows its
linker's name may be another version than the next machine has. Nothing, where
there is none."""
import re
import subprocess
import sys

name, *compiler = sys.argv[1:]
out = subprocess.run([*compiler, '-print-file-name=' + name], text=True,
                     stdout=subprocess.PIPE).stdout.strip()
if out and out != name:
    dynamic = subprocess.run(['readelf', '-d', out], text=True,
                             stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL).stdout
    found = re.search(r'\(SONAME\).*\[(.+)\]', dynamic)
    if found:
        print(found.group(1))
