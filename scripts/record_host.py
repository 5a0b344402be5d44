#!/usr/bin/env python3
"""Record this machine as a fixture: every file of /proc and /sys (and of the root) that a program's collectors read.

    record_host.py OUT [--name NAME] -- FAROL run --collector.interrupts …

Runs the given command under strace for a while (--seconds), looks at what it opened, and copies that: contents, folders
that it listed, and the links on the way. Give node_exporter's command once more into the same OUT, so that a comparison
finds what that one reads. Of processes only some are kept (--processes). The host's name becomes NAME.

Look through the result before you commit it: serial numbers, addresses and command lines are the machine's own.
"""
import argparse
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time

TREES = {"/proc": "proc", "/sys": "sys"}
PROCESS_FILES = ["stat", "status", "cgroup", "cmdline", "comm", "io"]
# By their presence alone it is seen how the control groups are mounted.
LOOKED_AT = ["/sys/fs/cgroup/cgroup.controllers", "/sys/fs/cgroup/cgroup.procs"]
ROOT_FILES = ["/etc/os-release", "/usr/lib/os-release", "/etc/passwd", "/etc/hostname"]
# The call's end may stand on a line of its own, behind another thread's.
OPENED = re.compile(r'openat\((?:AT_FDCWD|\d+)<([^>]*)>, "((?:[^"\\]|\\.)*)"')
MOST_BYTES = 4 << 20


def opened_paths(log):
    """The paths as they were asked for, links unresolved, as far as the kernel's names of descriptors allow."""
    paths = set()
    with open(log, errors="replace") as lines:
        for line in lines:
            found = OPENED.search(line)
            if not found:
                continue
            folder, name = found.groups()
            path = os.path.normpath(name if name.startswith("/") else os.path.join(folder, name))
            if path.startswith(("/proc/", "/sys/")):
                paths.add(path)
    return paths


def as_recorded(path):
    """`/proc/net` is a link by way of the reader; a recorded machine has it as a folder."""
    return re.sub(r"^/proc/(self|1)/net(?=/)", "/proc/net", path)


def read(path):
    """In pieces: `/proc/sys` refuses a large buffer."""
    content = b""
    with open(path, "rb", buffering=0) as file:
        while len(content) < MOST_BYTES and (piece := file.read(64 * 1024)):
            content += piece
    return content


class Recorder:
    def __init__(self, out, name, processes):
        self.out, self.name, self.processes = out, name.encode(), processes
        self.host = socket.gethostname().encode()
        self.done = set()

    def place(self, path):
        for tree, folder in TREES.items():
            if path == tree or path.startswith(tree + "/"):
                return os.path.join(self.out, folder + path[len(tree):])
        return os.path.join(self.out, "root" + path)

    def wanted(self, path):
        process = re.match(r"/proc/(\d+)(/|$)", path)
        return not process or int(process.group(1)) in self.processes

    def record(self, path):
        """Every component of the path: links as links, then what they lead to."""
        path = as_recorded(path)
        # What the recording program is, is not of the machine.
        if path.startswith("/proc/self/"):
            return
        if path.startswith("/proc/net/"):
            self.leaf(path)
            return
        walked = "/"
        for part in path.strip("/").split("/"):
            walked = os.path.join(walked, part)
            if os.path.islink(walked):
                self.link(walked)
                rest = path[len(walked):].strip("/")
                target = os.path.join(os.path.realpath(walked), rest) if rest else os.path.realpath(walked)
                if target.startswith(("/proc", "/sys")):
                    self.record(target)
                return
        self.leaf(path)

    def link(self, path):
        place = self.place(path)
        if os.path.lexists(place):
            return
        os.makedirs(os.path.dirname(place), exist_ok=True)
        os.symlink(os.readlink(path), place)

    def leaf(self, path):
        if path in self.done or not self.wanted(path):
            return
        self.done.add(path)
        try:
            kind = os.stat(path).st_mode
        except OSError:
            return
        place = self.place(path)
        if stat.S_ISDIR(kind):
            os.makedirs(place, exist_ok=True)
            self.listing(path)
        elif stat.S_ISREG(kind) and not os.path.lexists(place):
            try:
                content = read(path)
            except OSError:
                return
            os.makedirs(os.path.dirname(place), exist_ok=True)
            with open(place, "wb") as file:
                file.write(content.replace(self.host, self.name))

    def listing(self, folder):
        """A folder that was listed shows the links and folders it has; its files come when they are opened."""
        if folder == "/proc" or re.match(r"/proc/\d+", folder):
            return
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            if os.path.islink(path) and "/class/" in folder + "/" or os.path.islink(path) and folder.endswith("/block"):
                self.record(path)
            elif os.path.isdir(path) and not os.path.islink(path) and "/fs/cgroup" in folder:
                os.makedirs(self.place(path), exist_ok=True)


    def process(self, number):
        """All that any collector may want of a process, and each of its threads."""
        folder = f"/proc/{number}"
        threads = os.listdir(f"{folder}/task") if os.path.isdir(f"{folder}/task") else []
        for file in [*PROCESS_FILES, *(f"task/{thread}/stat" for thread in threads)]:
            self.leaf(f"{folder}/{file}")

    def page_size(self):
        """The kernel's page size, in the only file of a process that tells it."""
        place = self.place("/proc/self/smaps")
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with open("/proc/self/smaps") as smaps, open(place, "w") as file:
            file.writelines(line for line in smaps.readlines()[:8] if "PageSize" in line)


def trace(command, seconds):
    log = tempfile.mktemp(suffix=".strace")
    process = subprocess.Popen(["strace", "-f", "-qq", "-y", "-e", "trace=openat", "-o", log, *command],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGTERM)
    process.wait()
    return log


def drop_empty_folders(out):
    """Git keeps none, so the recording must not rely on them."""
    for folder, _, _ in os.walk(out, topdown=False):
        if not os.listdir(folder):
            os.rmdir(folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out")
    parser.add_argument("--name", default="recorded")
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--processes", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--scrape", help="an address to ask for /metrics meanwhile, as node_exporter reads only then")
    parser.add_argument("command", nargs="+")
    given = parser.parse_args()
    command = given.command
    if given.scrape:
        ask = f"sleep 3; curl -s http://{given.scrape}/metrics >/dev/null; wait"
        command = ["sh", "-c", '"$@" & ' + ask, "sh", *command]
    log = trace(command, given.seconds)
    recorder = Recorder(given.out, given.name, given.processes)
    for path in sorted(opened_paths(log)):
        recorder.record(path)
    os.unlink(log)
    for number in given.processes:
        recorder.process(number)
    recorder.page_size()
    for path in LOOKED_AT + ROOT_FILES:
        if os.path.isfile(path):
            recorder.leaf(path)
    drop_empty_folders(given.out)
    print(f"{len(recorder.done)} files and folders in {given.out}", file=sys.stderr)


if __name__ == "__main__":
    main()
