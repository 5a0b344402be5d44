#!/usr/bin/env bash
# Runs each fuzz target for FUZZ_SECONDS (default 60), from what it found before and from its seeds.
# Needs cargo-fuzz and a nightly toolchain.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
for target in $(cargo +nightly fuzz list); do
  echo "== $target"
  folders=("fuzz/corpus/$target")
  [ ! -d "fuzz/seeds/$target" ] || folders+=("fuzz/seeds/$target")
  mkdir -p "${folders[0]}"
  cargo +nightly fuzz run "$target" "${folders[@]}" -- -max_total_time="${FUZZ_SECONDS:-60}" -rss_limit_mb=2048
done
