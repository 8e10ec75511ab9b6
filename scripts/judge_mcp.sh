#!/bin/bash
# SPDX-License-Identifier: MIT
# Calls the tools of a server that is made with the official SDK of the Model Context Protocol (scripts/judge_mcp.py)
# through T.mcp. It downloads the SDK from PyPI into a temporary folder; no part of the tests.
#   scripts/judge_mcp.sh              (TROUPE=PROGRAM: another than build/release/troupe)
set -euo pipefail
cd "$(dirname "$0")/.."

troupe=$(realpath "${TROUPE:-build/release/troupe}")
source=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install 'mcp==2.3.*'

cat > "$work/recipe.lua" << EOF
local T = require "troupe"
return {
    model = "$source/models/stagehand", data = { train = "$source/recipes/calculator/data/train.jsonl" },
    env = { tools = { T.mcp{ command = { "$work/venv/bin/python", "$source/scripts/judge_mcp.py" }, timeout = 2 } } },
    reward = { script = "$source/recipes/calculator/reward.lua", objectives = { accuracy = 1 } },
}
EOF

failures=0
check() { # TOOL ARGUMENTS EXPECTED: in what it prints
    local found
    found=$("$troupe" env call --recipe "$work/recipe.lua" --tool "$1" "$2" 2> "$work/errors") || true
    case $found in
        *"$3"*) echo "ok      $1 $2" ;;
        *) failures=$((failures + 1)) && echo "failed  $1 $2: expected '$3', found: $found $(tail -n 3 "$work/errors")" ;;
    esac
}

check add '{"a": 20, "b": 22}' 42
check add '{"a": 20, "b": "x"}' 'b should be an integer'
check add '{"a": 20}' 'b'
check weather '{"city": "Wien"}' '"sky": "blue"'
check weather '{"city": "Wien", "days": [1, 2]}' '"city": "Wien"'
check weather '{"city": "Wien", "days": ["x"]}' 'days'
check lines '{"n": 3}' 'line 2'
check wait '{"seconds": 0.1}' waited
check wait '{"seconds": 60}' 'no answer within 2 s'
check fail '{}' fail
"$troupe" env call --recipe "$work/recipe.lua" --tool add '{"a": 1, "b": 2}' --repeat 200 --callers 8
[ "$failures" = 0 ]
echo "judge_mcp: all as expected"
