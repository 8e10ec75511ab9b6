#!/bin/bash
# SPDX-License-Identifier: MIT
# How the sources look (format) and what clang-tidy says of them (tidy). Run through 'make lint'.
#   scripts/lint.sh format       every file of ours stands as clang-format leaves it
#   scripts/lint.sh tidy         the C files changed since origin/main (all of them without such a branch)
#   scripts/lint.sh tidy all     all C files; stops after ten minutes
set -euo pipefail
cd "$(dirname "$0")/.."

sources() { git ls-files --cached --others --exclude-standard -- "$@" | while read -r f; do [ ! -f "$f" ] || echo "$f"; done; }

case "${1:-}" in
format)
    sources '*.c' '*.h' '*.cu' '*.cuh' '*.cpp' | xargs -r clang-format --dry-run -Werror
    ;;
tidy)
    if [ "${2:-}" != all ] && base=$(git merge-base HEAD origin/main 2>/dev/null); then
        files=$({ git diff --name-only --diff-filter=d "$base" -- '*.c'; git ls-files --others --exclude-standard '*.c'; } | sort -u)
    else
        files=$(sources '*.c')
    fi
    # Only what the build knows how to compile can be looked at.
    files=$(for f in $files; do grep -qF "$PWD/$f\"" build/release/compile_commands.json && echo "$f" || true; done)
    [ -n "$files" ] || exit 0
    # What it says on stderr is how many warnings of others' headers it kept to itself.
    echo "$files" | timeout 600 xargs -P "$(nproc)" -n 4 clang-tidy --quiet -p build/release 2>/dev/null
    ;;
*)
    echo "usage: $0 format | tidy [all]" >&2
    exit 2
    ;;
esac
