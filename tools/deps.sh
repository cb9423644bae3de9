# SPDX-License-Identifier: MIT OR Apache-2.0
# shellcheck shell=sh
# Sourced by tools/demo and tools/check: what they need, and how it gets here.
#
# A thing is looked for by what it does for us (a command, a library, a header)
# and not by its package, so that a compiler from elsewhere counts. What is
# missing is installed on Debian and its relatives; elsewhere its names are
# printed. Nothing but that runs as root.

top=$(cd "$(dirname "$0")/.." && pwd) || exit 1
me=$(basename "$0")

bold='' plain=''
if [ -t 1 ] && [ -z "${CI:-}" ] && [ -z "${NO_COLOR:-}" ]; then
	bold=$(printf '\033[1m') plain=$(printf '\033[0m')
fi

say() {
	printf '%s%s: %s%s\n' "$bold" "$me" "$*" "$plain"
}

die() {
	printf '%s: %s\n' "$me" "$*" >&2
	exit 1
}

# How to see that it is there | Debian, Ubuntu | Fedora | Arch
# shellcheck disable=SC2034
catalogue='
cmd:gcc|gcc|gcc|gcc
header:stdio.h|libc6-dev|glibc-devel|glibc
header:linux/io_uring.h|linux-libc-dev|kernel-headers|linux-api-headers
cmd:clang|clang|clang|clang
cmd:g++|g++|gcc-c++|gcc
cmd:meson|meson|meson|meson
cmd:ninja|ninja-build|ninja-build|ninja
cmd:pkg-config|pkg-config|pkgconf-pkg-config|pkgconf
cmd:python3|python3|python3|python
cmd:gdb|gdb|gdb|gdb
cmd:valgrind|valgrind|valgrind|valgrind
cmd:qemu-aarch64|qemu-user|qemu-user|qemu-user
cmd:aarch64-linux-gnu-gcc|gcc-aarch64-linux-gnu|gcc-aarch64-linux-gnu|aarch64-linux-gnu-gcc
file:/usr/aarch64-linux-gnu/include/stdio.h|libc6-dev-arm64-cross|glibc for aarch64|aarch64-linux-gnu-glibc
file:/etc/services|netbase|setup|iana-etc
lib:criterion|libcriterion-dev|criterion (from its own site)|criterion (AUR)
lib:libunwind|libunwind-dev|libunwind-devel|libunwind
lib:libffi|libffi-dev|libffi-devel|libffi
cmd:groff|groff-base|groff-base|groff
cmd:tinyproxy|tinyproxy-bin|tinyproxy|tinyproxy
cmd:stunnel4|stunnel4|stunnel|stunnel
cmd:mariadbd|mariadb-server-core|mariadb-server|mariadb
cmd:openssl|openssl|openssl|openssl
lib:libpq|libpq-dev|libpq-devel|postgresql-libs
lib:libmariadb|libmariadb-dev|mariadb-connector-c-devel|mariadb-libs
lib:sqlite3|libsqlite3-dev|sqlite-devel|sqlite
lib:hiredis|libhiredis-dev|hiredis-devel|hiredis
lib:libcurl|libcurl4-openssl-dev|libcurl-devel|curl
lib:openssl|libssl-dev|openssl-devel|openssl
lib:liburing|liburing-dev|liburing-devel|liburing
cmd:go|golang-go|golang|go
header:boost/fiber/all.hpp|libboost-fiber-dev libboost-context-dev|boost-devel|boost
header:pth.h|libpth-dev|pth-devel|pth (AUR)
cmd:cargo|cargo rustc|cargo|rust
file:/usr/share/doc/librust-tokio-dev/copyright|librust-tokio-dev librust-libc-dev|rust-tokio-devel|tokio (from crates.io)
file:/usr/share/doc/librust-async-channel-dev/copyright|librust-async-channel-dev|rust-async-channel-devel|async-channel (from crates.io)
file:/usr/share/doc/librust-futures-util-dev/copyright|librust-futures-util-dev|rust-futures-util-devel|futures-util (from crates.io)
cmd:pigz|pigz|pigz|pigz
cmd:xz|xz-utils|xz|xz
cmd:sysbench|sysbench|sysbench|sysbench
cmd:gnuplot|gnuplot-nox|gnuplot|gnuplot
'

is_there() {
	case $1 in
	# Servers are where only root looks for commands.
	cmd:*) PATH=$PATH:/usr/sbin command -v "${1#cmd:}" >/dev/null 2>&1 ;;
	lib:*) pkg-config --exists "${1#lib:}" 2>/dev/null ;;
	header:*.hpp) printf '#include <%s>\n' "${1#header:}" |
		"${CXX:-g++}" -E -x c++ - >/dev/null 2>&1 ;;
	header:*) printf '#include <%s>\n' "${1#header:}" |
		"${CC:-gcc}" -E -x c - >/dev/null 2>&1 ;;
	file:*) [ -e "${1#file:}" ] ;;
	esac
}

# need PROBE...: the lines of the catalogue for those that are missing, one
# column of them: 2 Debian, 3 Fedora, 4 Arch.
missing() {
	column=$1
	shift
	for probe; do
		is_there "$probe" || printf '%s\n' "$catalogue" |
			awk -F'|' -v p="$probe" -v c="$column" '$1 == p { print $c }'
	done
}

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif [ -n "${CI:-}" ]; then
		sudo -n "$@"
	else
		sudo "$@"
	fi
}

apt_install() {
	as_root env DEBIAN_FRONTEND=noninteractive \
		apt-get install -y -q --no-install-recommends "$@"
}

# need PROBE...: afterwards they are there, or this has said what to do.
need() {
	packages=$(missing 2 "$@" | tr '\n' ' ')
	[ -n "$packages" ] || return 0

	if ! command -v apt-get >/dev/null 2>&1; then
		cat >&2 <<END
$me: this machine lacks something that is needed. Install
  on Fedora:  $(missing 3 "$@" | paste -sd, - | sed 's/,/, /g')
  on Arch:    $(missing 4 "$@" | paste -sd, - | sed 's/,/, /g')
  on Debian:  $packages
or what your system calls them, and run $me again.
END
		exit 1
	fi
	if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null 2>&1; then
		die "as root, run: apt-get install $packages- then $me again"
	fi

	say "installing $packages"
	log=$(mktemp) || exit 1
	# The lists may be missing or old; fetching them takes longer than all
	# else, so only when it is needed.
	# shellcheck disable=SC2086
	if ! apt_install $packages >"$log" 2>&1; then
		as_root apt-get update -q >>"$log" 2>&1
		if ! apt_install $packages >>"$log" 2>&1; then
			tail -n 15 "$log" >&2
			rm -f "$log"
			die "apt-get could not install $packages(above: why);" \
				"install them by hand and run $me again"
		fi
	fi
	rm -f "$log"

	packages=$(missing 2 "$@" | tr '\n' ' ')
	[ -z "$packages" ] ||
		die "$packages are installed and yet not found; is something" \
			"else first in PATH or PKG_CONFIG_PATH?"
}

# want_foreign ARCHITECTURE FILE PACKAGE...: Debian's packages for another processor,
# for the tests in an emulator. Where they cannot be had, says so and is false.
want_foreign() {
	architecture=$1 file=$2
	shift 2
	[ -e "$file" ] && return 0
	if command -v dpkg >/dev/null 2>&1; then
		say "installing $*"
		log=$(mktemp) || exit 1
		if as_root dpkg --add-architecture "$architecture" >"$log" 2>&1 &&
		   as_root apt-get update -q >>"$log" 2>&1 &&
		   apt_install "$@" >>"$log" 2>&1; then
			rm -f "$log"
			return 0
		fi
		tail -n 3 "$log" >&2
		rm -f "$log"
	fi
	say "$* are not to be had here: what needs them is skipped"
	return 1
}

# want PROBE...: the same for what is not needed: without it some tests are
# skipped, and say so.
want() {
	for probe; do
		(need "$probe") || say "going on without $probe"
	done
}

# `sudo tools/demo` builds as root in the user's checkout; what it made is
# given back, or the next run without sudo could not write there.
give_back() {
	if [ "$(id -u)" = 0 ] && [ -n "${SUDO_UID:-}" ] && [ -e "$1" ]; then
		chown -R "$SUDO_UID:${SUDO_GID:-$SUDO_UID}" "$1"
	fi
}

# build_for_use DIRECTORY MESON-OPTION...: as the README says that it is built to be
# used. On most paths -O3, which a release has, takes up to 8 % fewer instructions than
# -O2, and the library is 4 % larger.
build_for_use() {
	directory=$1
	shift
	build "$directory" --buildtype=release -Db_lto=true "$@"
}

# build DIRECTORY MESON-OPTION...: sets it up, or brings it up to date.
build() {
	directory=$1
	shift
	log=$(mktemp) || exit 1
	say "building in $(basename "$directory")"
	# A directory left by a failed or by another version's setup is no
	# reason to fail.
	if [ -e "$directory/build.ninja" ] &&
	   meson configure "$directory" "$@" >"$log" 2>&1; then
		:
	elif ! { rm -rf "$directory" &&
		 meson setup "$directory" "$top" "$@" >"$log" 2>&1; }; then
		tail -n 25 "$log" >&2
		give_back "$directory"
		die "meson could not set up the build (above: why; all of it:" \
			"$directory/meson-logs/meson-log.txt)"
	fi
	if ! ninja -C "$directory" >"$log" 2>&1; then
		grep -vE '^(ninja|\[[0-9]+/[0-9]+\])' "$log" | head -n 60 >&2
		give_back "$directory"
		die "the build failed (above: why); to see all of it, run:" \
			"ninja -C $directory"
	fi
	rm -f "$log"
	give_back "$directory"
}
