#!/bin/bash
# SPDX-License-Identifier: MIT
# Compares 'troupe render' with Jinja2 itself, byte by byte, on public chat templates: those in the package trl, and all
# *.jinja below the folders given. It downloads Jinja2 and trl from PyPI into a temporary folder; no part of the tests.
#   scripts/judge_templates.sh [FOLDER]...         (TROUPE=PROGRAM: another than build/release/troupe)
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install jinja2==3.1.6
"$work/venv/bin/pip" -q download --no-deps -d "$work" trl
python3 -m zipfile -e "$work"/trl-*.whl "$work/trl"
"$work/venv/bin/python" scripts/judge_templates.py "${TROUPE:-build/release/troupe}" "$work/trl" "$@"
