#!/bin/bash
# SPDX-License-Identifier: MIT
# scripts/install-deps.sh with an apt that says much: one line when all goes well, what apt said when it does not, and the
# tests' packages only where tests are asked for.
set -euo pipefail
source=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/bin" "$dir/tmp"
cat > "$dir/bin/dpkg-query" <<'END'
#!/bin/sh
exit 1
END
cat > "$dir/bin/apt-get" <<'END'
#!/bin/sh
for i in $(seq 1 300); do echo "Get:$i http://somewhere/ a line of apt's"; done
echo "$*" >> "$APT_CALLS"
[ "$1" = update ] || exit "$APT_ENDS"
END
printf '#!/bin/sh\nexec "$@"\n' > "$dir/bin/sudo"
chmod +x "$dir"/bin/*
export PATH="$dir/bin:$PATH" APT_CALLS="$dir/calls" TMPDIR="$dir/tmp"

fail() { echo "install_deps: $*" >&2 && exit 1; }
install() { APT_ENDS=$1 "$source/scripts/install-deps.sh" "${@:2}" > "$dir/out" 2>&1 < /dev/null; }

install 0 || fail "it failed: $(cat "$dir/out")"
[ "$(wc -l < "$dir/out")" = 1 ] || fail "expected one line, found: $(head -5 "$dir/out")"
grep -q 'installing .* Debian packages: cmake' "$dir/out" || fail "its one line is: $(cat "$dir/out")"
! grep -q cmocka "$dir/calls" || fail "building asks for the tests' packages: $(cat "$dir/calls")"
[ -z "$(ls "$dir/tmp")" ] || fail "it left its log behind"
install 0 --test && grep -q libcmocka-dev "$dir/calls" || fail "--test does not ask for cmocka"
! install 100 || fail "apt's failure is none"
grep -q "Get:300" "$dir/out" && grep -q "could not be installed; all that apt said is in" "$dir/out" ||
    fail "what apt said is not shown: $(cat "$dir/out")"
! install 0 --tests || fail "--tests was accepted"
echo "install_deps: ok"
