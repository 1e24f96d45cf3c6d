#!/bin/sh
# Builds and tests the solver with HiGHS, which is C++ and needs cmake and libclang: installs them where that is allowed, and
# says so where they cannot be had.
set -eu
found() { command -v cmake > /dev/null && find /usr/lib* /usr/local/lib* "${LIBCLANG_PATH:-/usr/lib}" -name 'libclang*.so*' 2> /dev/null | grep -q .; }
if ! found && [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
    (apt-get update && apt-get install -y --no-install-recommends cmake libclang-dev) > /dev/null 2>&1 || true
fi
if ! found; then
    echo "skipped: HiGHS needs cmake and libclang"
    exit 0
fi
cargo clippy -p bitbudget-solver --features highs --all-targets -- -D warnings
cargo test -p bitbudget-solver --features highs
