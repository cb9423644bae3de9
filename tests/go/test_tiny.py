# SPDX-License-Identifier: MIT OR Apache-2.0
"""A program that includes <cogo.h> is built by whatever compilers there are, as C and
as C++, with every warning an error, and runs.

Arguments: the program, the include folder, the library.
"""
import os
import shutil
import subprocess
import sys
import tempfile

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wstrict-prototypes", "-Werror"]
COMPILERS = [("gcc", "c"), ("clang", "c"), ("g++", "c++"), ("clang++", "c++")]
STANDARDS = {"c": ["gnu99", "gnu11", "gnu17"], "c++": ["gnu++11", "gnu++17", "gnu++20"]}


def main():
    source, include, library = sys.argv[1:]
    library = os.path.abspath(library)
    folder = os.path.dirname(library)
    tried = 0
    with tempfile.TemporaryDirectory() as temp:
        program = os.path.join(temp, "tiny")
        for compiler, language in COMPILERS:
            if not shutil.which(compiler):
                continue
            for standard in STANDARDS[language]:
                for level in ["-O0", "-O2"]:
                    flags = [f for f in WARNINGS
                             if language == "c" or f != "-Wstrict-prototypes"]
                    command = [compiler, "-x", language, f"-std={standard}", level,
                               *flags, "-I", include, source, "-x", "none",
                               "-o", program, library, f"-Wl,-rpath,{folder}"]
                    built = subprocess.run(command, capture_output=True, text=True)
                    if built.returncode:
                        sys.exit(f"{' '.join(command)}\n{built.stderr}")
                    for workers in ["1", "2"]:
                        ran = subprocess.run([program], capture_output=True, text=True,
                                             timeout=60,
                                             env=dict(os.environ, COGO_WORKERS=workers))
                        if ran.returncode or not ran.stdout.startswith("85, "):
                            sys.exit(f"{' '.join(command)}: {ran}")
                    tried += 1
    print(f"{tried} builds")
    sys.exit(0 if tried else 77)


main()
