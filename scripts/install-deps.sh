#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs the Debian packages Troupe is built from. Silent and quick when nothing is missing; run it as often as you like.
#   scripts/install-deps.sh          what building and using it needs
#   scripts/install-deps.sh --test   also what the tests need
#   scripts/install-deps.sh --real   also what fetches a public model (scripts/real_model.sh)
#   scripts/install-deps.sh --dev    also what 'make lint', 'make fuzz' and several learners (MPI) need
# What apt says goes into a log, which is shown when something fails.
set -eu

packages="cmake ninja-build gcc g++ pkg-config python3
  libzmq3-dev libmsgpack-dev liblua5.4-dev libsqlite3-dev libpcre2-dev libutf8proc-dev libjansson-dev libcurl4-openssl-dev"
tests="libcmocka-dev"
case "${1:-}" in
"") ;;
--test) packages="$packages $tests" ;;
--real) packages="$packages python3-pip" ;;
--dev) packages="$packages $tests clang clang-format clang-tidy ccache libopenmpi-dev openmpi-bin" ;;
*) echo "usage: $0 [--test | --real | --dev]" >&2 && exit 2 ;;
esac

if ! command -v dpkg-query >/dev/null; then
    echo "troupe: this is not a Debian system; these packages' equivalents are needed:" $packages >&2
    exit 0
fi

# `ii` is installed; a package dpkg has never heard of makes it fail and prints nothing on stdout. pkg-config may be
# provided by another package under a newer name, so the program itself counts too.
missing="" count=0
for package in $packages; do
    case "$(dpkg-query -W -f='${db:Status-Abbrev}' "$package" 2>/dev/null || true)" in
    ii*) ;;
    *) [ "$package" = pkg-config ] && command -v pkg-config >/dev/null || { missing="$missing $package" count=$((count + 1)); } ;;
    esac
done
[ -n "$missing" ] || exit 0

sudo=""
if [ "$(id -u)" != 0 ]; then
    sudo=sudo
    if ! command -v sudo >/dev/null || ! { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
        echo "troupe: these Debian packages are missing and only root can install them. Run, as root:" >&2
        echo "    apt-get update && apt-get install -y --no-install-recommends$missing" >&2
        exit 1
    fi
fi

log=$(mktemp "${TMPDIR:-/tmp}/troupe-packages.XXXXXX")
apt() { $sudo env DEBIAN_FRONTEND=noninteractive apt-get "$@" -q < /dev/null >> "$log" 2>&1; }
[ -z "$sudo" ] || $sudo true # asks for the password before its question would land in the log
echo "troupe: installing $count Debian packages:$missing"
# A stale list is no reason to stop: the install says for itself what it could not get.
apt update || true
if ! apt install -y --no-install-recommends $missing; then
    tail -n 40 "$log" >&2
    echo "troupe: the packages could not be installed; all that apt said is in $log" >&2
    exit 1
fi
rm -f "$log"
