#!/usr/bin/env python3
"""Measure Farol beside node_exporter on this machine and print the table of docs/benchmarks.md.

    farol_bench.py [--quick] [--ticks FILE] [--out FILE.json]

Needs target/release/farol and Debian's prometheus-node-exporter; wrk is used if it is there. All
traffic stays on loopback.
"""
import argparse
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import proctree  # noqa: E402
from scrape_bench import Client  # noqa: E402

FAROL = os.path.join(HERE, "..", "target", "release", "farol")
FLOOR = os.path.join(HERE, "..", "target", "release", "examples", "floor")
NODE_EXPORTER = "/usr/bin/prometheus-node-exporter"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start_farol(folder, *flags, program=FAROL):
    """The process, its address, and how long it took from the start to the first scrape."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [program, "run", "--listen", "127.0.0.1:0", "--data", folder + "/data", "--logs", folder + "/logs", *flags],
        stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        found = re.match(r"farol listening on http://127\.0\.0\.1:(\d+)", line)
        if found:
            break
    port = int(found.group(1))
    while b"\nnode_load1 " not in Client("127.0.0.1", port, "/metrics").get():
        pass
    return process, port, time.perf_counter() - began


def start_node_exporter(*flags):
    port = free_port()
    process = subprocess.Popen([NODE_EXPORTER, f"--web.listen-address=127.0.0.1:{port}", *flags],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while True:
        try:
            Client("127.0.0.1", port, "/metrics").get()
            return process, port
        except OSError:
            time.sleep(0.05)


def floor(size, quick):
    """p50 in ms of a server that only writes as many bytes: what the kernel and the client cost."""
    process = subprocess.Popen([FLOOR, str(size)], stdout=subprocess.PIPE, text=True)
    port = int(process.stdout.readline().rsplit(":", 1)[1])
    out = scrape("floor", process, port, quick, True)
    stop(process)
    return out["p50_ms"]


def stop(process):
    process.terminate()
    process.wait()


def scrape(name, process, port, quick, gzip):
    out = tempfile.mktemp(suffix=".json")
    command = [sys.executable, os.path.join(HERE, "scrape_bench.py"), name, str(process.pid),
               f"http://127.0.0.1:{port}/metrics", "--out", out,
               "--runs", "2" if quick else "5", "--n", "200" if quick else "1000",
               "--idle", "2" if quick else "10", "--wrk-seconds", "0" if gzip else ("1" if quick else "5")]
    subprocess.run(command + (["--gzip"] if gzip else []), check=True, stdout=subprocess.DEVNULL)
    with open(out) as file:
        return json.load(file)


def first_after_tick(port, ticks):
    """Latency of the first scrape after each tick: nothing of it can be cached."""
    client = Client("127.0.0.1", port, "/metrics")
    client.get()
    latencies = []
    for _ in range(ticks):
        now = time.time()
        # The grid stands on whole seconds; the tick itself is over well within 50 ms.
        time.sleep(1.05 - now % 1 if now % 1 > 0.04 else 0.05)
        before = time.perf_counter()
        client.get()
        latencies.append((time.perf_counter() - before) * 1e3)
    return statistics.median(latencies), min(latencies), max(latencies)


def steady(process, seconds):
    """CPU in ms a second, median of windows, and RSS in MiB."""
    out = tempfile.mktemp(suffix=".json")
    subprocess.run([sys.executable, os.path.join(HERE, "proctree.py"), "--seconds", str(seconds), "--windows", "6",
                    "--out", out, f"it={process.pid}"], check=True, stdout=subprocess.DEVNULL)
    with open(out) as file:
        it = json.load(file)["procs"]["it"]
    return it["cpu_ms_per_s"], it["rss_kb"] / 1024


def steady_with_scrapes(process, port, seconds):
    """The same while it is scraped once a second, gzip asked, as Prometheus would."""
    client = Client("127.0.0.1", port, "/metrics", "Accept-Encoding: gzip\r\n")
    windows, count = [], 6
    for _ in range(count):
        before, began = proctree.tree_cpu_s(process.pid), time.monotonic()
        while time.monotonic() - began < seconds / count:
            client.get()
            time.sleep(1 - time.time() % 1 + 0.3)
        windows.append((proctree.tree_cpu_s(process.pid) - before) / (time.monotonic() - began) * 1000)
    return statistics.median(windows), min(windows), max(windows)


def span(values, digits=2):
    middle, least, most = values
    return f"{middle:.{digits}f} ({least:.{digits}f}..{most:.{digits}f})"


# What node_exporter leaves off and its best known board asks for; Farol has the same names.
EVERYTHING = ["--collector.interrupts", "--collector.processes", "--collector.systemd", "--collector.tcpstat"]


def machine_series(port):
    """How many series tell of the machine: neither the program itself nor sums of others."""
    text = Client("127.0.0.1", port, "/metrics").get().decode()
    return len(re.findall(r"^node_", text, re.M))


def measure(quick, collectors):
    """Both programs with the same collectors: everything that is measured of a scrape."""
    peer, port = start_node_exporter(*collectors)
    theirs = {"plain": scrape("node_exporter", peer, port, quick, False),
              "gzip": scrape("node_exporter", peer, port, quick, True),
              "node_series": machine_series(port)}
    stop(peer)
    with tempfile.TemporaryDirectory() as folder:
        farol, port, _ = start_farol(folder, *collectors)
        cpu, _ = steady(farol, 18 if quick else 120)
        ours = {"cpu": (cpu["median"], cpu["min"], cpu["max"]),
                "scraped": steady_with_scrapes(farol, port, 12 if quick else 60),
                "plain": scrape("farol", farol, port, quick, False),
                "node_series": machine_series(port)}
        ours["floor"] = floor(ours["plain"]["bytes"], quick)
        ours["gzip"] = scrape("farol", farol, port, quick, True)
        ours["first"] = first_after_tick(port, 5 if quick else 60)
        stop(farol)
    return ours, theirs


def rss(figures):
    return figures["plain"]["after_scrapes"]["rss_kb"] / 1024


def scrape_rows(row, ours, theirs, reach):
    """`reach`: targets by row, where there are any."""
    plain, plain_peer = ours["plain"], theirs["plain"]
    p50, peer_p50 = plain["p50_ms"], plain_peer["p50_ms"]
    row("series, bytes", f"{plain['series']}, {plain['bytes']:,}", f"{plain_peer['series']}, {plain_peer['bytes']:,}")
    row("of them `node_*`", ours["node_series"], theirs["node_series"], reach.get("series", ""))
    row("scrape p50, ms", span(p50, 3), span(peer_p50), reach.get("p50", ""))
    row("that as a ratio", f"1/{peer_p50[0] / p50[0]:.0f}", "", reach.get("ratio", ""))
    row("the floor: as many bytes, nothing else, ms", span(ours["floor"], 3))
    row("first scrape after a tick, ms", span(ours["first"], 3), "as any")
    row("scrape p99, ms", span(plain["p99_ms"], 3), span(plain_peer["p99_ms"]))
    row("CPU per scrape, ms", span(plain["cpu_s_per_1000_net"], 3), span(plain_peer["cpu_s_per_1000_net"]))
    row("CPU per scrape with gzip, ms", span(ours["gzip"]["cpu_s_per_1000_net"], 3),
        span(theirs["gzip"]["cpu_s_per_1000_net"]), reach.get("gzip", ""))
    if plain["wrk8_req_s"]:
        row("scrapes/s, 8 connections", span(plain["wrk8_req_s"], 0), span(plain_peer["wrk8_req_s"], 0))
    row("RSS after the scrapes, MiB", f"{rss(ours):.1f}", f"{rss(theirs):.1f}", reach.get("rss", ""))
    row("CPU of `farol run` at 1 s, ms/s", span(ours["cpu"]), "", reach.get("cpu", ""))
    row("the same, scraped once a second", span(ours["scraped"]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--ticks", help="what `cargo bench --bench tick` printed")
    parser.add_argument("--out", default="target/bench.json")
    given = parser.parse_args()
    quick = given.quick
    rows = []

    def row(what, farol, peer="", target=""):
        rows.append((what, farol, peer, target))
        print(f"| {what} | {farol} | {peer} | {target} |", flush=True)

    def table(title):
        print(f"\n{title}\n\n| what | farol | node_exporter | reach |\n| --- | --- | --- | --- |", flush=True)

    starts = []
    for _ in range(3 if quick else 15):
        with tempfile.TemporaryDirectory() as folder:
            process, port, took = start_farol(folder)
            starts.append(took * 1e3)
            stop(process)

    table("Default collectors")
    default = measure(quick, [])
    scrape_rows(row, *default, {"p50": "0.19", "gzip": "0.25", "rss": f"half: {rss(default[1]) / 2:.1f}", "cpu": "3.0"})
    row("binary, MB", f"{os.stat(FAROL).st_size / 1e6:.1f}", f"{os.stat(NODE_EXPORTER).st_size / 1e6:.1f}", "12")
    row("start to first scrape, ms", span((statistics.median(starts), min(starts), max(starts)), 0), "", "300")
    table("The same collectors on in both: " + ", ".join(flag.rsplit(".")[-1] for flag in EVERYTHING) + " too")
    everything = measure(quick, EVERYTHING)
    scrape_rows(row, *everything, {"series": "no fewer", "ratio": "1/30", "rss": "14"})
    if given.ticks:
        table("Ticks, every collector on")
        with open(given.ticks) as file:
            for line in file:
                what, _, figure = line.strip().partition(": ")
                if figure:
                    row(what, figure, "", "2.5" if "whole" in what else "")
    with open(given.out, "w") as file:
        json.dump({"rows": rows, "default": default, "everything": everything}, file, indent=1)


if __name__ == "__main__":
    main()
