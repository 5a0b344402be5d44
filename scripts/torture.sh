#!/usr/bin/env bash
# The full figures of what `make test` does in short: 300 kills, a minute of tracing, 20,000
# expressions beside Prometheus, the fuzz targets.
set -euo pipefail
cd "$(dirname "$0")/.."
export FAROL_TORTURE=1
export PROPTEST_CASES=${PROPTEST_CASES:-5000}
cargo test --release --workspace --locked
FUZZ_SECONDS=${FUZZ_SECONDS:-600} scripts/fuzz.sh
