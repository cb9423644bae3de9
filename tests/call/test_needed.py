#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""test_needed - libcogo.so brings no library into a program that would stand
before the program's own.

    test_needed.py LIBCOGO"""
import re
import subprocess
import sys

dynamic = subprocess.run(['readelf', '-d', sys.argv[1]], check=True, text=True,
                         stdout=subprocess.PIPE).stdout
needed = re.findall(r'\(NEEDED\).*\[(.+)\]', dynamic)
print('needs', ', '.join(needed))
wrong = [name for name in needed if re.match(r'lib(ffi|unwind)\b', name)]
if not needed or wrong:
    sys.exit('must not need ' + (', '.join(wrong) or 'nothing at all'))
