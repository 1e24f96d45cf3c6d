#!/usr/bin/env bash
# Shows what another commit makes otherwise: bits, predicted bytes and assignments, with each set of instructions.
#
#   tests/fingerprints.sh COMMIT [NAME]
#
# Fingerprints of COMMIT, then of this checkout; the differences are printed, and the exit status is 1 if there are any.
# NAME takes only the networks whose name contains it. Sets of instructions: BITBUDGET_SETS, all by default.
set -euo pipefail
commit=$(git rev-parse --verify "$1^{commit}")
name=${2:-}
root=$(git rev-parse --show-toplevel)
folder=$(mktemp -d)
trap 'git -C "$root" worktree remove --force "$folder/before" 2>/dev/null || true; rm -rf "$folder"' EXIT
git -C "$root" worktree add --quiet --detach "$folder/before" "$commit"

build() { # folder, copy of the program
    (cd "$1" && cargo build --quiet --package bitbudget-tests --bin fingerprints)
    cp "${CARGO_TARGET_DIR:-$1/target}/debug/fingerprints" "$2"
}
build "$folder/before" "$folder/fingerprints-before"
build "$root" "$folder/fingerprints-after"

status=0
for set in ${BITBUDGET_SETS:-avx512bf16 avx512 avx2 portable}; do
    for build in before after; do
        BITBUDGET_INSTRUCTIONS=$set "$folder/fingerprints-$build" "$folder/before/tests/differential/fixed" "$name" >"$folder/$build.txt"
    done
    if diff "$folder/before.txt" "$folder/after.txt"; then
        echo "$set: $(wc -l <"$folder/after.txt") fingerprints are the same"
    else
        status=1
    fi
done
exit $status
