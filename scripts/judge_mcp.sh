#!/bin/bash
# SPDX-License-Identifier: MIT
# Calls the tools of a server that is made with the official SDK of the Model Context Protocol (scripts/judge_mcp.py)
# through T.mcp: over stdio, and over HTTP as the SDK can answer there. It downloads the SDK from PyPI into a temporary
# folder, unless PYTHON has it; no part of the tests.
#   scripts/judge_mcp.sh              (TROUPE=PROGRAM: another than build/release/troupe; PYTHON=PROGRAM)
set -euo pipefail
cd "$(dirname "$0")/.."

troupe=$(realpath "${TROUPE:-build/release/troupe}")
source=$PWD
work=$(mktemp -d)
server=""
trap '[ -z "$server" ] || kill -9 $server 2> /dev/null; rm -rf "$work"' EXIT
python=${PYTHON:-$work/venv/bin/python}
if [ -z "${PYTHON:-}" ]; then
    python3 -m venv "$work/venv"
    "$work/venv/bin/pip" -q install 'mcp==2.3.*'
fi

recipe() { # WHERE: the server's command or url
    cat > "$work/recipe.lua" << END
local T = require "troupe"
return {
    model = "$source/models/stagehand", data = { train = "$source/recipes/calculator/data/train.jsonl" },
    env = { tools = { T.mcp{ $1, timeout = 2 } } },
    reward = { script = "$source/recipes/calculator/reward.lua", objectives = { accuracy = 1 } },
}
END
}

failures=0
check() { # TOOL ARGUMENTS EXPECTED: in what it prints
    local found
    found=$("$troupe" env call --recipe "$work/recipe.lua" --tool "$1" "$2" 2> "$work/errors") || true
    case $found in
        *"$3"*) echo "ok      $1 $2" ;;
        *) failures=$((failures + 1)) && echo "failed  $1 $2: expected '$3', found: $found $(tail -n 3 "$work/errors")" ;;
    esac
}

check_all() {
    check add '{"a": 20, "b": 22}' 42
    check add '{"a": 20, "b": "x"}' 'b should be an integer'
    check add '{"a": 20}' 'b'
    check weather '{"city": "Wien"}' '"sky": "blue"'
    check weather '{"city": "Wien", "days": [1, 2]}' '"city": "Wien"'
    check weather '{"city": "Wien", "days": ["x"]}' 'days'
    check lines '{"n": 3}' 'line 2'
    check told '{"n": 3}' 'told 3'
    check wait '{"seconds": 0.1}' waited
    check wait '{"seconds": 60}' 'no answer within 2 s'
    check fail '{}' fail
    "$troupe" env call --recipe "$work/recipe.lua" --tool add '{"a": 1, "b": 2}' --repeat 200 --callers 8
}

free_port() { "$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

serve() { # PORT WORD...: until it listens
    "$python" "$source/scripts/judge_mcp.py" "$@" > "$work/server.log" 2>&1 &
    server=$!
    for _ in $(seq 300); do
        (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null && return
        sleep 0.1
    done
    tail "$work/server.log" && exit 1
}

end_server() {
    kill -9 $server
    wait $server 2> /dev/null || true
    server=""
}

echo "== stdio"
recipe "command = { \"$python\", \"$source/scripts/judge_mcp.py\" }"
check_all
for words in "" "json" "stateless" "json stateless" "resumable"; do
    echo "== http $words"
    port=$(free_port)
    recipe "url = \"http://127.0.0.1:$port/mcp\""
    serve "$port" $words
    check_all
    [ "$words" != resumable ] || check leaves '{}' 'came back'
    end_server
done
[ "$failures" = 0 ]
echo "judge_mcp: all as expected"
