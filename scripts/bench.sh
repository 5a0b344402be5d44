#!/usr/bin/env bash
# Every row of docs/benchmarks.md, measured on the release binary beside Debian's node_exporter, in one
# run. QUICK=1 takes a minute and is only good to see that it runs.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release --quiet --locked -p farol --example floor
cargo bench --quiet -p farol --bench tick 2>/dev/null | tee target/bench-tick.txt
cargo bench --quiet -p farol-collect --bench processes 2>/dev/null | tee -a target/bench-tick.txt
cargo bench --quiet -p farol-collect --bench containers 2>/dev/null | tee -a target/bench-tick.txt
exec python3 bench/farol_bench.py --ticks target/bench-tick.txt ${QUICK:+--quick} "$@"
