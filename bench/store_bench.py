#!/usr/bin/env python3
"""Measure Farol's store beside Debian's prometheus and victoria-metrics, and print the tables of docs/benchmarks.md.

    store_bench.py [--quick] [--only NAME,...] [--start UNIX_SECONDS] [--scan FILE] [--out FILE.json]

The same synthetic samples (gen_openmetrics.py: 500 series, 6 h at 5 s) go into each; each has temporary
folders of its own, all traffic stays on loopback, and whatever was started is stopped at the end. Needs
target/release/farol, prometheus, promtool and victoria-metrics. NAME is one of prometheus,
victoria-metrics, farol, steady, day, replay. --scan: what `cargo bench -p farol-store --bench scan`
printed, to go into the tables.
"""
import argparse
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from urllib.parse import urlencode
from urllib.request import Request, urlopen

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import proctree  # noqa: E402
from farol_bench import FAROL, free_port, span, start_farol, steady, stop  # noqa: E402

PROMETHEUS, PROMTOOL, VICTORIA = "/usr/bin/prometheus", "/usr/bin/promtool", "/usr/bin/victoria-metrics"
RECORDED = os.path.join(HERE, "..", "fixtures", "hosts", "debian")
SERIES, HOURS, INTERVAL = 500, 6, 5
# How many series each selects, checked with every answer.
SELECTORS = {1: "node_memory_MemAvailable_bytes", 50: '{__name__=~"node_memory_.*"}', 500: '{job="node"}'}


def least_most(values):
    """Median, least and most, as `span` prints them."""
    return statistics.median(values), min(values), max(values)


class Data:
    """The samples as text, in the two formats that the peers read."""

    def __init__(self, folder, start, quick):
        hours = 1 if quick else HOURS
        # Whole blocks of two hours that are over, whatever the hour.
        self.start = start or int(time.time()) // 7200 * 7200 - HOURS * 3600
        self.end = self.start + int(hours * 3600) - INTERVAL
        self.scrapes = int(hours * 3600 / INTERVAL)
        self.samples = SERIES * self.scrapes
        self.openmetrics, self.prometheus = folder + "/samples.om", folder + "/samples.prom"
        for path, form in (self.openmetrics, "openmetrics"), (self.prometheus, "prometheus"):
            with open(path, "w") as out:
                subprocess.run([sys.executable, os.path.join(HERE, "gen_openmetrics.py"), "--hours", str(hours), "--series",
                                str(SERIES), "--interval", str(INTERVAL), "--start", str(self.start), "--format", form],
                               stdout=out, check=True)


# Started by a small process of its own: a child's peak counts that of the process it was forked from, and
# this one holds the peers' answers.
LAUNCH = """
import json, os, subprocess, sys, time
began = time.perf_counter()
process = subprocess.Popen(sys.argv[2:], stdout=open(sys.argv[1], "w"))
_, status, usage = os.wait4(process.pid, 0)
took = time.perf_counter() - began
print(json.dumps([os.waitstatus_to_exitcode(status), took, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024]))
"""


class Ended:
    """A program that ran to its end: seconds, CPU seconds and peak MiB."""

    def __init__(self, command, stdout=os.devnull):
        launcher = [sys.executable, "-c", LAUNCH, stdout, *command]
        run = subprocess.run(launcher, capture_output=True, text=True, check=True)
        code, self.seconds, self.cpu, self.peak = json.loads(run.stdout)
        if code:
            sys.exit(f"{' '.join(command)}: {run.stderr}")


def tree_bytes(folder, prefixes=("",)):
    """The sizes of all files below the folder whose names begin so; what vanishes meanwhile counts as nothing."""
    total = 0
    for at, _, files in os.walk(folder):
        for name in filter(lambda name: name.startswith(prefixes), files):
            try:
                total += os.lstat(os.path.join(at, name)).st_size
            except FileNotFoundError:
                pass
    return total


class Server:
    """A peer that listens on a port of loopback; stopped with its block."""

    def __init__(self, command, port):
        self.address = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __enter__(self):
        deadline = time.monotonic() + 30
        while True:
            try:
                if self.is_ready():
                    return self
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    self.stop()
                    sys.exit(f"{self.process.args[0]} does not answer")
            time.sleep(0.02)

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()

    def is_ready(self):
        return bool(self.get("/metrics"))

    def get(self, path, **query):
        target = self.address + path + ("?" + urlencode(query) if query else "")
        with urlopen(Request(target, headers={"Accept-Encoding": "identity"}), timeout=120) as answer:
            return answer.read()

    def memory(self):
        """RSS now and at its highest, MiB."""
        memory = proctree.tree_mem(self.process.pid)
        return memory["rss_kb"] / 1024, memory["hwm_kb"] / 1024

    def cpu(self):
        return proctree.tree_cpu_s(self.process.pid)


class Prometheus(Server):
    def __init__(self, folder):
        port = free_port()
        config = folder + "/prometheus.yml"
        with open(config, "w") as file:
            file.write("{}\n")
        # The samples are as old as they are: no retention by age.
        super().__init__([PROMETHEUS, "--config.file", config, "--storage.tsdb.path", folder + "/data",
                          "--storage.tsdb.retention.time", "100y", "--web.listen-address", f"127.0.0.1:{port}",
                          "--log.level", "error"], port)

    def is_ready(self):
        return b"Ready" in self.get("/-/ready")


class Victoria(Server):
    def __init__(self, folder):
        port = free_port()
        super().__init__([VICTORIA, "-storageDataPath", folder + "/data", "-retentionPeriod", "100y", "-httpListenAddr",
                          f"127.0.0.1:{port}", "-loggerLevel", "ERROR"], port)


def idle(pid, quick):
    """RSS in MiB and CPU in ms a second, once what follows a start is over."""
    time.sleep(2 if quick else 20)
    out = tempfile.mktemp(suffix=".json")
    subprocess.run([sys.executable, os.path.join(HERE, "proctree.py"), "--seconds", "3" if quick else "30", "--windows", "3",
                    "--out", out, f"it={pid}"], check=True, stdout=subprocess.DEVNULL)
    with open(out) as file:
        it = json.load(file)["procs"]["it"]
    os.remove(out)
    return {"rss": it["rss_kb"] / 1024, "cpu": it["cpu_ms_per_s"]["median"]}


def timed(question, runs):
    """Milliseconds of each run, after one that does not count; `question` gives the number of samples."""
    counts, times = set(), []
    for run in range(runs + 1):
        began = time.perf_counter()
        counts.add(question())
        if run:
            times.append((time.perf_counter() - began) * 1e3)
    return counts, times


def scans(ask, data, runs):
    """Of each selector, the milliseconds of an answer with all its raw samples. `ask` returns a function
    that gives the body, and one that counts the samples in it: counting is not measured."""
    found = {}
    for series, selector in SELECTORS.items():
        body, count = ask(selector)
        answer = body()
        expected = series * data.scrapes
        if count(answer) != expected:
            sys.exit(f"{selector}: {count(answer)} samples instead of {expected}")
        _, times = timed(lambda: len(body()), runs)
        found[series] = times
    return found


def result(data, loads, stored, at_rest, scanned, commands=None):
    """`commands`: the same scans by a program that is started for each."""
    seconds = [load["seconds"] for load in loads]
    return {"bytes": [load["bytes"] for load in loads], "bytes_a_sample": least_most([load["bytes"] / data.samples for load in loads]),
            "seconds": least_most(seconds), "samples_a_second": least_most([data.samples / 1e6 / s for s in seconds]),
            "cpu": least_most([load["cpu"] for load in loads]), "peak": least_most([load["peak"] for load in loads]),
            "idle": at_rest, "stored": stored, "scans": {n: least_most(times) for n, times in scanned.items()},
            "commands": {n: least_most(times) for n, times in (commands or {}).items()}}


def by_command(command, count, data, runs):
    """The scans by a program that writes them to its standard output."""
    def ask(selector):
        run = lambda: subprocess.run(command(selector), check=True, stdout=subprocess.PIPE).stdout  # noqa: E731
        return run, count
    return scans(ask, data, runs)


def folders(root, runs):
    """One after the other, each empty; the last one stays."""
    for run in range(runs):
        folder = f"{root}/{run}"
        os.mkdir(folder)
        yield folder
        if run < runs - 1:
            shutil.rmtree(folder)


def measure_prometheus(root, data, runs, quick):
    loads = []
    for folder in folders(root, runs):
        ended = Ended([PROMTOOL, "tsdb", "create-blocks-from", "openmetrics", "-q", data.openmetrics, folder + "/data"])
        loads.append({"seconds": ended.seconds, "cpu": ended.cpu, "peak": ended.peak, "bytes": tree_bytes(folder + "/data")})
    # Before a server has the folder: a dump of one in use would need a snapshot. It asks for a log, empty or not.
    os.mkdir(folder + "/data/wal")
    dump = by_command(lambda selector: [PROMTOOL, "tsdb", "dump", "--match", selector, folder + "/data"],
                      lambda body: body.count(b"\n"), data, runs)
    with Prometheus(folder) as server:
        at_rest = idle(server.process.pid, quick)

        def ask(selector):
            query = selector + f"[{data.end - data.start + INTERVAL}s]"
            return (lambda: server.get("/api/v1/query", query=query, time=data.end),
                    lambda body: sum(len(series["values"]) for series in json.loads(body)["data"]["result"]))
        scanned = scans(ask, data, runs)
    return result(data, loads, "blocks of 2 h", at_rest, scanned, dump)


def measure_victoria(root, data, runs, quick):
    with open(data.prometheus, "rb") as file:
        body = file.read()
    loads = []
    for folder in folders(root, runs):
        with Victoria(folder) as server:
            cpu, began = server.cpu(), time.perf_counter()
            with urlopen(Request(server.address + "/api/v1/import/prometheus", data=body), timeout=120):
                pass
            # Durable, as the other two are when their program ends.
            server.get("/internal/force_flush")
            seconds = time.perf_counter() - began
            load = {"seconds": seconds, "cpu": server.cpu() - cpu, "peak": server.memory()[1]}
            server.get("/internal/force_merge")
            # Not the caches, which it writes when it ends.
            load["bytes"] = settled_bytes([folder + "/data/data", folder + "/data/indexdb"])
        loads.append(load)
    # Started anew: what it takes to load is not what it takes to be there.
    with Victoria(folder) as server:
        at_rest = idle(server.process.pid, quick)

        def ask(selector):
            query = {"match[]": selector, "start": data.start, "end": data.end}
            return (lambda: server.get("/api/v1/export", **query),
                    lambda body: sum(len(json.loads(line)["values"]) for line in body.splitlines()))
        scanned = scans(ask, data, runs)
    return result(data, loads, "merged, with its index", at_rest, scanned)


def settled_bytes(folders_of_data):
    """Once the forced merge, which runs beside, no longer changes them."""
    last, since = None, time.monotonic()
    while time.monotonic() - since < 1.5:
        time.sleep(0.1)
        now = sum(map(tree_bytes, folders_of_data))
        if now != last:
            last, since = now, time.monotonic()
    return last


def measure_farol(root, data, runs, quick):
    loads = []
    for folder in folders(root, runs):
        ended = Ended([FAROL, "import", "--format", "openmetrics", "--data", folder + "/data", data.openmetrics])
        loads.append({"seconds": ended.seconds, "cpu": ended.cpu, "peak": ended.peak, "bytes": tree_bytes(folder + "/data/store")})
    with Farol(folder, "--no-collectors") as farol:
        at_rest = idle(farol.process.pid, quick)
    tiers = tree_bytes(folder + "/data/store", ("15s-", "5m-"))
    taken_in = tree_bytes(folder + "/data/store") - tiers
    exported = by_command(lambda selector: [FAROL, "export", "--data", folder + "/data", "--format", "jsonl", "--match", selector],
                          lambda body: sum(len(json.loads(line)["values"]) for line in body.splitlines()), data, runs)
    found = result(data, loads, "imported blocks", at_rest, {}, exported)
    found["taken_in"], found["tiers"] = taken_in / data.samples, tiers / data.samples
    return found


def iso(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def table(title, columns):
    print(f"\n{title}\n\n| what | {' | '.join(columns)} |\n|{' --- |' * (len(columns) + 1)}", flush=True)


def row(what, *figures):
    print(f"| {what} | {' | '.join(str(figure) for figure in figures)} |", flush=True)


NAMES = ["farol", "prometheus", "victoria-metrics"]


def print_engines(found, data):
    names = [name for name in NAMES if name in found]
    table(f"{SERIES} series, {data.samples:,} samples", names)
    engines = [found[name] for name in names]
    row("on disk", *[engine["stored"] for engine in engines])
    row("bytes a sample", *[span(engine["bytes_a_sample"], 3) for engine in engines])
    if "farol" in found:
        for key, what in ("taken_in", "the same once `farol run` has taken it in"), ("tiers", "the down-sampled tiers beside it"):
            row(what, *[f"{engine[key]:.3f}" if key in engine else "" for engine in engines])
    row("load, s", *[span(engine["seconds"]) for engine in engines])
    row("load, million samples/s", *[span(engine["samples_a_second"]) for engine in engines])
    row("load, CPU s", *[span(engine["cpu"]) for engine in engines])
    row("load, peak RSS MiB", *[span(engine["peak"], 0) for engine in engines])
    row("at rest, RSS MiB", *[f"{engine['idle']['rss']:.1f}" for engine in engines])
    row("at rest, CPU ms/s", *[f"{engine['idle']['cpu']:.1f}" for engine in engines])
    for kind, what in ("scans", "over HTTP"), ("commands", "by a command"):
        for series in SELECTORS:
            figures = [engine[kind].get(series) for engine in engines]
            if any(figures):
                row(f"all samples of {series} series {what}, ms", *[span(f) if f else "" for f in figures])


class Farol:
    """`farol run` on folders that hold a history already; stopped with its block."""

    def __init__(self, folder, *flags):
        self.began = time.perf_counter()
        # Opened twice: writer and reader each have their own place in it.
        written = open(folder + "/said", "w")
        self.said = open(folder + "/said")
        self.process = subprocess.Popen(
            [FAROL, "run", "--listen", "127.0.0.1:0", "--data", folder + "/data", "--logs", folder + "/data/logs",
             "--log.file=false", "--log.format", "json", *flags], stdout=written)
        written.close()
        self.wait_for("farol listening on ")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        stop(self.process)
        self.said.close()

    def caught_up(self):
        """Seconds from the start until the store has taken the journal, how long that was by its own word, and how
        many records it took."""
        said = json.loads(self.wait_for("the store has taken what the journal holds"))
        number, unit = re.fullmatch(r"([\d.]+)(ns|µs|ms|s)", said["took"]).groups()
        took = float(number) * {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1}[unit]
        return time.perf_counter() - self.began, took, int(said["snapshots"])

    def wait_for(self, words):
        """The first whole line with these words."""
        deadline = time.perf_counter() + 120
        while time.perf_counter() < deadline and self.process.poll() is None:
            self.said.seek(0)
            for line in self.said:
                if words in line and line.endswith("\n"):
                    return line
            time.sleep(0.001)
        self.__exit__()
        sys.exit(f"farol did not say: {words}")

    def rss(self):
        return proctree.tree_mem(self.process.pid)["rss_kb"] / 1024


def simulated(folder, span, start, *flags):
    """A journal and a store as `farol run` would have written them; what it took and said."""
    said = folder + "/simulated"
    ended = Ended([FAROL, "simulate", "--from", RECORDED, "--wander", "1", "--for", span, "--start", iso(start),
                   "--data", folder + "/data", *flags], stdout=said)
    with open(said) as text:
        return ended, text.read().strip()


def series_of(folder):
    """Of the newest snapshots of both lanes."""
    lines = subprocess.run([FAROL, "journal", "tail", "-n", "30", "--full", "--data", folder + "/data", "--logs",
                            folder + "/data/logs"], check=True, stdout=subprocess.PIPE, text=True).stdout
    lanes = {}
    for line in map(json.loads, lines.splitlines()):
        lanes[line["lane"]] = sum(len(held) if isinstance(held, dict) else 1 for held in line["samples"].values())
    return lanes


def measure_steady(quick, before):
    """`farol run` at 1 s on this machine, and an older build without a store beside it, in turns."""
    found = {}
    for name, program in {"with": FAROL, "without": before}.items():
        if program is None:
            continue
        with tempfile.TemporaryDirectory() as folder:
            process, _, _ = start_farol(folder, program=program)
            cpu, rss = steady(process, 18 if quick else 120)
            found[name] = {"cpu": (cpu["median"], cpu["min"], cpu["max"]), "rss": rss}
            stop(process)
    return found


def print_steady(found):
    names = list(found)
    table("`farol run` at 1 s", [f"{name} store" for name in names])
    row("CPU, ms/s", *[span(found[name]["cpu"]) for name in names])
    row("RSS, MiB", *[f"{found[name]['rss']:.1f}" for name in names])


EACH_SECOND = ["--slow-interval", "1s"]


def measure_day(quick):
    """RSS of `farol run` at 1 s with a day of such seconds behind it."""
    seconds = 3 * 3600 if quick else 24 * 3600
    with tempfile.TemporaryDirectory() as folder:
        ended, said = simulated(folder, f"{seconds}s", int(time.time()) - seconds, *EACH_SECOND)
        lanes = series_of(folder)
        found = {"said": said, "simulate_s": ended.seconds, "simulate_peak": ended.peak, "series": lanes,
                 "tiers": tree_bytes(folder + "/data/store", ("15s-", "5m-")),
                 **{key: int(number) for number, key in re.findall(r"(\d+) (snapshots|samples|of them in blocks|bytes of \w+)", said)}}
        with Farol(folder) as farol:
            found["caught_up"] = farol.caught_up()
            time.sleep(5 if quick else 60)
            found["rss"] = farol.rss()
    with tempfile.TemporaryDirectory() as folder:
        with Farol(folder) as farol:
            time.sleep(5 if quick else 60)
            found["rss_empty"] = farol.rss()
    return found


def print_day(found, quick):
    table(f"{'Three hours' if quick else 'A day'} of {sum(found['series'].values())} series at 1 s", ["farol"])
    row("samples", f"{found['samples']:,}")
    row("RSS of `farol run` at 1 s with it, MiB", f"{found['rss']:.1f}")
    row("the same with nothing stored yet, MiB", f"{found['rss_empty']:.1f}")
    stored = found["of them in blocks"]
    row("store, bytes a sample", f"{(found['bytes of store'] - found['tiers']) / stored:.3f}")
    row("the down-sampled tiers of the day that is over", f"{found['tiers'] / stored:.3f}")
    row("journal, compressed when a segment is full, bytes a sample", f"{found['bytes of journal'] / found['samples']:.3f}")
    row("written by `farol simulate` in, s", f"{found['simulate_s']:.0f}")


def measure_replay(runs, quick):
    """From the start to a store that has all of the journal, where there is no store yet."""
    found = {}
    for span_text in ["15m"] if quick else ["15m", "2h"]:
        with tempfile.TemporaryDirectory() as folder:
            minutes = 15 if span_text == "15m" else 120
            simulated(folder, span_text, int(time.time()) - minutes * 60, "--journal.compress=false")
            times = []
            for _ in range(runs):
                shutil.rmtree(folder + "/data/store", ignore_errors=True)
                with Farol(folder, "--no-collectors", "--journal.compress=false") as farol:
                    times.append(farol.caught_up())
            found[span_text] = {"from_start_ms": least_most([t[0] * 1e3 for t in times]),
                                "replay_ms": least_most([t[1] * 1e3 for t in times]), "records": times[0][2]}
    return found


def print_replay(found):
    table("Replay of the journal at start, nothing stored yet", list(found))
    row("records", *[f"{replay['records']:,}" for replay in found.values()])
    row("until the store has them, from the start of the program, ms", *[span(r["from_start_ms"], 0) for r in found.values()])
    row("of that reading and applying, ms", *[span(r["replay_ms"], 0) for r in found.values()])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="an hour of samples and two runs: only to see that it runs")
    parser.add_argument("--only", help="some of: prometheus, victoria-metrics, farol, steady, day, replay")
    parser.add_argument("--start", type=int, help="of the samples, Unix seconds [default: six hours that are over]")
    parser.add_argument("--before", help="an older farol without a store, for the steady row")
    parser.add_argument("--scan", help="what `cargo bench -p farol-store --bench scan` printed")
    parser.add_argument("--out", default="target/bench-store.json")
    given = parser.parse_args()
    runs = 2 if given.quick else 5
    wanted = given.only.split(",") if given.only else [*NAMES, "steady", "day", "replay"]
    found = {}
    engines = {"prometheus": measure_prometheus, "victoria-metrics": measure_victoria, "farol": measure_farol}
    if any(name in wanted for name in engines):
        with tempfile.TemporaryDirectory() as folder:
            data = Data(folder, given.start, given.quick)
            for name, measure in engines.items():
                if name in wanted:
                    with tempfile.TemporaryDirectory() as root:
                        found[name] = measure(root, data, runs, given.quick)
            print_engines(found, data)
    if "steady" in wanted:
        found["steady"] = measure_steady(given.quick, given.before)
        print_steady(found["steady"])
    if "day" in wanted:
        found["day"] = measure_day(given.quick)
        print_day(found["day"], given.quick)
    if "replay" in wanted:
        found["replay"] = measure_replay(runs, given.quick)
        print_replay(found["replay"])
    if given.scan:
        table("Read through the store's `Reader`, in the process", ["farol"])
        with open(given.scan) as file:
            for line in file:
                what, _, figure = line.strip().partition(": ")
                if figure:
                    row(what, figure)
    with open(given.out, "w") as file:
        json.dump(found, file, indent=1)


if __name__ == "__main__":
    main()
