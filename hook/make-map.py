#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Writes the linker's export map from names.def.

The hooked names are exported without a version, so that a program's reference
binds to ours whichever version of the symbol it asks for."""
import re
import sys

source, out = sys.argv[1:3]
names = re.findall(r"^HOOK\((\w+)", open(source).read(), re.M)
twice = {n for n in names if names.count(n) > 1}
if twice:
    sys.exit(f"{source}: named twice: {', '.join(sorted(twice))}")
with open(out, "w") as f:
    f.write("{\nglobal:\n\tcogo_*;\n")
    for n in names:
        f.write(f"\t{n};\n")
    f.write("local:\n\t*;\n};\n")
