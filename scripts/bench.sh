#!/usr/bin/env bash
# Every row of docs/benchmarks.md, measured on the release binary beside Debian's node_exporter,
# Prometheus and VictoriaMetrics, in one run. QUICK=1 takes some minutes and is only good to see that it
# runs. BEFORE=<an older farol without a store> measures that beside the running program.
set -euo pipefail
cd "$(dirname "$0")/.."
declare -A package_of=(
  [prometheus-node-exporter]=prometheus-node-exporter
  [promtool]=prometheus
  [victoria-metrics]=victoria-metrics
)
missing=()
for program in "${!package_of[@]}"; do
  command -v "$program" >/dev/null || missing+=("${package_of[$program]}")
done
if [ ${#missing[@]} -gt 0 ]; then
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
cargo build --release --quiet --locked -p farol --example floor
cargo bench --quiet -p farol --bench tick 2>/dev/null | tee target/bench-tick.txt
cargo bench --quiet -p farol --bench rules 2>/dev/null
cargo bench --quiet -p farol-collect --bench processes 2>/dev/null | tee -a target/bench-tick.txt
cargo bench --quiet -p farol-collect --bench containers 2>/dev/null | tee -a target/bench-tick.txt
cargo bench --quiet -p farol-store --bench scan 2>/dev/null | tee target/bench-scan.txt
python3 bench/farol_bench.py --ticks target/bench-tick.txt ${QUICK:+--quick} "$@"
python3 bench/store_bench.py --scan target/bench-scan.txt ${QUICK:+--quick} ${BEFORE:+--before "$BEFORE"}
python3 bench/query_bench.py ${QUICK:+--quick}
