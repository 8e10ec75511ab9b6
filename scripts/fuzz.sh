#!/bin/bash
# SPDX-License-Identifier: MIT
# Runs every libFuzzer target of a build for some seconds, from the corpus in tests/fuzz/corpus; what it finds on the way
# stays in the build folder. A crash leaves its input there, and the target's name in the failing line.
#   scripts/fuzz.sh BUILD-FOLDER SECONDS
set -euo pipefail
build=$(realpath "$1") seconds=$2
cd "$(dirname "$0")/.."
failed=0 n=0
while read -r program; do
    name=$(basename "$program") && name=${name#fuzz_}
    grown=$build/corpus/$name crashes=$build/crashes/$name
    mkdir -p "$grown" "$crashes"
    n=$((n + 1))
    echo "fuzz: $name for $seconds s"
    if ! "$program" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$crashes/" "$grown" "tests/fuzz/corpus/$name" >"$build/$name.log" 2>&1; then
        tail -40 "$build/$name.log"
        echo "fuzz: $name failed; its input is in $crashes"
        failed=$((failed + 1))
    fi
    grep -h 'stat::number_of_executed_units' "$build/$name.log" || true
done < <(find "$build" -type f -name 'fuzz_*' -perm -u+x ! -name '*.*' | sort)
echo "fuzz: $n targets, $failed failed"
[ "$n" -gt 0 ] && [ "$failed" = 0 ]
