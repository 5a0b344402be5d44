#!/usr/bin/env python3
"""Measure PromQL questions to Farol beside Debian's prometheus and victoria-metrics, and print the tables of docs/benchmarks.md.

    query_bench.py [--quick] [--rounds N] [--runs N] [--only farol,prometheus,victoria-metrics] [--start UNIX_SECONDS] [--skip-proportion]
                   [--out FILE.json]

The same samples (gen_openmetrics.py: 500 series at 5 s) go into each, and the same questions are put to each over HTTP, one GET after
the other on a kept-alive connection, timed from the request to the last byte. Servers take turns question by question; what is printed
is the median over rounds of each round's median. VictoriaMetrics is asked without its cache of results. Answers must have the same
number of series, and of points but for the few that differing windows make. All traffic stays on loopback; whatever was started is
stopped at the end. Needs target/release/farol, prometheus, promtool and victoria-metrics.
"""
import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from urllib.parse import urlencode, urlsplit
from urllib.request import Request, urlopen

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from farol_bench import FAROL, span  # noqa: E402
from scrape_bench import Client  # noqa: E402
from store_bench import PROMTOOL, Farol, Prometheus, Victoria, row, table  # noqa: E402

SERIES, INTERVAL = 500, 5
CPU = "node_cpu_seconds_total"
# What it is called, the expression, seconds a step (none: at one time), and how it is to compare with the faster peer.
QUESTIONS = [
    ("`up`, at one time", "up", None, 1),
    ("`node_memory_MemAvailable_bytes`, at one time", "node_memory_MemAvailable_bytes", None, 1),
    ("`rate(cpu[5m])`, at one time", f"rate({CPU}[5m])", None, 1),
    ("`rate(cpu[5m])`, 16 series, step 15 s", f"rate({CPU}[5m])", 15, 0.5),
    ("`sum by (mode) (rate(cpu[5m]))`, step 15 s", f"sum by (mode) (rate({CPU}[5m]))", 15, 0.5),
    ("`avg_over_time(MemAvailable[1h])`, step 15 s", "avg_over_time(node_memory_MemAvailable_bytes[1h])", 15, 1),
    ("`MemAvailable`, step 15 s", "node_memory_MemAvailable_bytes", 15, 1),
    ("`{job=\"node\"}`, 500 series, step 60 s", '{job="node"}', 60, 0.5),
]
PEERS = ["prometheus", "victoria-metrics"]


class Data:
    """The samples as text: whole blocks of two hours that are over."""

    def __init__(self, folder, hours, start=None, formats=("openmetrics", "prometheus")):
        self.start = start or int(time.time()) // 7200 * 7200 - hours * 3600
        self.end = self.start + hours * 3600 - INTERVAL
        self.hours = hours
        self.path = {form: f"{folder}/{hours}h.{form}" for form in formats}
        for form, path in self.path.items():
            with open(path, "w") as out:
                subprocess.run([sys.executable, os.path.join(HERE, "gen_openmetrics.py"), "--hours", str(hours), "--series", str(SERIES),
                                "--interval", str(INTERVAL), "--seed", "1", "--start", str(self.start), "--format", form], stdout=out, check=True)


@contextlib.contextmanager
def farol(folder, data):
    """It has nothing of its own to collect, and as long a memory as the peers."""
    subprocess.run([FAROL, "import", "--format", "openmetrics", "--data", folder + "/data", data.path["openmetrics"]], check=True,
                   stdout=subprocess.DEVNULL)
    with Farol(folder, "--no-collectors") as server:
        address = json.loads(server.wait_for("the store has taken what the journal holds")) and server.wait_for("farol listening on ")
        port = int(address.strip().rsplit(":", 1)[1].strip("/"))
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def prometheus(folder, data):
    subprocess.run([PROMTOOL, "tsdb", "create-blocks-from", "openmetrics", "-q", data.path["openmetrics"], folder + "/data"], check=True,
                   stdout=subprocess.DEVNULL)
    with Prometheus(folder) as server:
        yield server.address


@contextlib.contextmanager
def victoria(folder, data):
    with Victoria(folder) as server:
        with open(data.path["prometheus"], "rb") as file, urlopen(Request(server.address + "/api/v1/import/prometheus", data=file.read()),
                                                                 timeout=300):
            pass
        server.get("/internal/force_flush")
        server.get("/internal/force_merge")
        yield server.address


SERVERS = {"farol": farol, "prometheus": prometheus, "victoria-metrics": victoria}


class Question:
    """An expression, put to one server."""

    def __init__(self, address, expression, start, end, step, nocache=False):
        asked = {"query": expression}
        asked.update({"time": end} if step is None else {"start": start, "end": end, "step": step})
        if nocache:
            asked["nocache"] = 1
        path = f"/api/v1/query{'' if step is None else '_range'}?{urlencode(asked)}"
        url = urlsplit(address)
        self.client = Client(url.hostname, url.port, path)

    def shape(self):
        """Series, points, bytes."""
        body = bytes(self.client.get())
        found = json.loads(body)["data"]["result"]
        return len(found), sum(len(series.get("values", [1])) for series in found), len(body)

    def times(self, runs):
        """Milliseconds, after two that do not count."""
        times = []
        for run in range(runs + 2):
            began = time.perf_counter()
            self.client.get()
            if run > 1:
                times.append((time.perf_counter() - began) * 1e3)
        return times


def in_rounds(questions, rounds, runs):
    """Of each server the medians of its rounds, the servers taking turns: median, least, most."""
    medians = {name: [] for name in questions}
    for _ in range(rounds):
        for name, question in questions.items():
            medians[name].append(statistics.median(question.times(runs)))
    return {name: (statistics.median(found), min(found), max(found)) for name, found in medians.items()}


def is_alike(shapes):
    """A window that is open on the left has now and then one sample less."""
    (series, points, _), *others = shapes.values()
    return all(other[0] == series and abs(other[1] - points) <= series * 8 for other in others)


def compare(folder, data, names, rounds, runs):
    found = []
    with contextlib.ExitStack() as stack:
        addresses = {}
        for name in names:
            own = f"{folder}/{name}"
            os.mkdir(own)
            addresses[name] = stack.enter_context(SERVERS[name](own, data))
        # What follows a start and a load is over.
        time.sleep(5)
        for what, expression, step, reach in QUESTIONS:
            questions = {name: Question(address, expression, data.start, data.end, step, nocache=name == "victoria-metrics")
                         for name, address in addresses.items()}
            shapes = {name: question.shape() for name, question in questions.items()}
            if not is_alike(shapes):
                print(f"{what}: the answers differ in series or points: {shapes}", file=sys.stderr)
            times = in_rounds(questions, rounds, runs)
            found.append({"what": what, "reach": reach, "shapes": shapes, "ms": times})
    return found


def print_comparison(found, names, hours):
    table(f"Questions over {hours} h of {SERIES} series at {INTERVAL} s: p50, ms", [*names, "of the faster peer", "reach"])
    for question in found:
        ms = question["ms"]
        peers = [ms[name][0] for name in PEERS if name in ms]
        ratio = f"{ms['farol'][0] / min(peers):.2f}" if peers and "farol" in ms else ""
        row(question["what"], *[span(ms[name]) for name in names], ratio, question["reach"])


def measure_proportion(folder, rounds, runs, quick):
    """Farol alone: 1,000 series (two machines) over a day; the sum of `rate` over so many of them and so many hours, 240 steps: what is
    answered is the same in all."""
    hours = 6 if quick else 24
    text = f"{folder}/two.openmetrics"
    start = int(time.time()) // 7200 * 7200 - hours * 3600
    with open(text, "w") as out:
        subprocess.run([sys.executable, os.path.join(HERE, "gen_openmetrics.py"), "--hours", str(hours), "--series", str(SERIES), "--hosts", "2",
                        "--interval", str(INTERVAL), "--seed", "1", "--start", str(start)], stdout=out, check=True)

    class Two:
        path = {"openmetrics": text}
    own = folder + "/two"
    os.mkdir(own)
    end = start + hours * 3600 - INTERVAL
    spans = [hour for hour in (1, 6, 24) if hour <= hours]
    found = {}
    with farol(own, Two) as address:
        time.sleep(5)
        for count, selector in selectors(address, end).items():
            for span_hours in spans:
                asked = lambda of, step: Question(address, f"{of}(rate({selector}[5m]))", end - span_hours * 3600, end, step)  # noqa: E731
                check_count(asked("count", None), count)
                question = asked("sum", span_hours * 15)
                times = in_rounds({"farol": question}, rounds, max(3, runs // 4))["farol"]
                found[f"{count} {span_hours}"] = times
    return {"spans": spans, "ms": found}


def check_count(question, count):
    (series,) = json.loads(bytes(question.client.get()))["data"]["result"]
    if int(series["value"][1]) != count:
        sys.exit(f"{series['value'][1]} series instead of {count}")


def selectors(address, end):
    """Selectors of exactly 1, 10, 100 and 1,000 series."""
    asked = urlencode({"query": 'count by (__name__) ({job="node",instance="host0:9100"})', "time": end})
    with urlopen(f"{address}/api/v1/query?{asked}", timeout=60) as answer:
        found = json.load(answer)["data"]["result"]
    alone = [series["metric"]["__name__"] for series in found if series["value"][1] == "1"]
    one = lambda count: '{__name__=~"' + "|".join(sorted(alone)[:count]) + '",instance="host0:9100"}'  # noqa: E731
    return {1: one(1), 10: one(10), 100: one(100), 1000: '{job="node"}'}


def print_proportion(found):
    spans = found["spans"]
    table("`sum(rate(…[5m]))` in 240 steps: p50, ms", [f"{hours} h" for hours in spans])
    for count in (1, 10, 100, 1000):
        figures = [found["ms"][f"{count} {hours}"] for hours in spans]
        row(f"{count:,} series", *[span(figure) for figure in figures])
    table("The same, µs for each thousand samples that are read", [f"{hours} h" for hours in spans])
    for count in (1, 10, 100, 1000):
        samples = [count * hours * 3600 / INTERVAL for hours in spans]
        figures = [found["ms"][f"{count} {hours}"][0] for hours in spans]
        row(f"{count:,} series", *[f"{ms * 1e3 / (number / 1e3):.1f}" for ms, number in zip(figures, samples)])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two rounds of few runs: only to see that it runs")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=20, help="of each question in a round")
    parser.add_argument("--only", help="some of: farol, prometheus, victoria-metrics")
    parser.add_argument("--start", type=int, help="of the samples, Unix seconds [default: six hours that are over]")
    parser.add_argument("--skip-proportion", action="store_true", help="leave out the table of Farol alone")
    parser.add_argument("--out", default="target/bench-query.json")
    given = parser.parse_args()
    # A bench that is told to end stops what it has started, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to end"))
    rounds, runs = (2, 5) if given.quick else (given.rounds, given.runs)
    names = given.only.split(",") if given.only else list(SERVERS)
    with tempfile.TemporaryDirectory() as folder:
        data = Data(folder, 6, given.start)
        found = {"questions": compare(folder, data, names, rounds, runs)}
        print_comparison(found["questions"], names, data.hours)
        if "farol" in names and not given.skip_proportion:
            found["proportion"] = measure_proportion(folder, rounds, runs, given.quick)
            print_proportion(found["proportion"])
    with open(given.out, "w") as file:
        json.dump(found, file, indent=1)


if __name__ == "__main__":
    main()
