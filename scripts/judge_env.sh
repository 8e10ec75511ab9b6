#!/bin/bash
# SPDX-License-Identifier: MIT
# Plays environments of other people's packages through plugins/python/troupe_env.py and compares with the packages
# themselves (scripts/judge_env.py). It downloads them from PyPI into a temporary folder; no part of the tests.
#   scripts/judge_env.sh [gymnasium|openenv|reasoning_gym|skyrl_gym|textworld|verifiers ...]
set -euo pipefail
cd "$(dirname "$0")/.."

declare -A packages=([gymnasium]="gymnasium[toy-text] minigrid" [reasoning_gym]=reasoning-gym [skyrl_gym]=skyrl-gym
                     [textworld]=textworld [openenv]=openenv [verifiers]="verifiers<0.2 reasoning-gym")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The order of sets is part of some questions (isomorphic_strings): troupe_env.py fixes it in this way, too.
failures=0
for kind in "${@:-gymnasium openenv reasoning_gym skyrl_gym textworld verifiers}"; do
    for name in $kind; do
        venv=${VENVS:-$work}/$name # VENVS=FOLDER keeps them
        [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
        # shellcheck disable=SC2086 # words
        "$venv/bin/pip" -q install ${packages[$name]}
        PYTHONHASHSEED=0 "$venv/bin/python" scripts/judge_env.py "$name" "$work" 2>"$work/$name.log" ||
            { tail -20 "$work/$name.log"; failures=$((failures + 1)); }
    done
done
[ "$failures" = 0 ]
echo "judge_env: all as the packages themselves"
