"""What the benchmark measures with: the sink's process, and the counters of /proc over a tree of processes."""
import glob
import json
import os
import platform
import re
import select
import shutil
import subprocess
import time

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TICK = os.sysconf("SC_CLK_TCK")
SYNCS = ("fsync", "fdatasync", "sync_file_range", "msync")
ALL_OFFERS = "PIPELINING,CHUNKING,8BITMIME,SMTPUTF8,SIZE,ENHANCEDSTATUSCODES,DSN"


class Sink:
    """test/bench/sink as a process; greets nobody before go()."""

    def __init__(self, count, offer=ALL_OFFERS, delay_ms=0):
        program = os.path.join(TREE, "build", "host", "test", "bench", "sink")
        self.process = subprocess.Popen([program, "--held", "--count", str(count), "--offer", offer, "--delay",
                                         str(delay_ms)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self.buffer = b""
        self.port = int(self.line(10).split()[1])

    def line(self, seconds):
        end = time.monotonic() + seconds
        while b"\n" not in self.buffer:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))
            more = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            if not more:
                raise AssertionError(f"the sink said nothing within {seconds} s")
            self.buffer += more
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.decode()

    def say(self, word):
        self.process.stdin.write(word.encode() + b"\n")

    def go(self):
        """Greets; the time it did."""
        self.say("go")
        return float(self.line(10).split()[1])

    def stats(self):
        self.say("stats")
        while True:
            line = self.line(10)
            if line.startswith("{"):
                return json.loads(line)

    def wait_open(self, connections, seconds=1.0):
        """Until so many connections wait for their greeting, or some do and no more come."""
        end = time.monotonic() + 10
        while True:
            now = self.stats()["open"]
            if now >= connections:
                return
            if now:
                end = min(end, time.monotonic() + seconds)
            if time.monotonic() > end:
                if now:
                    return
                raise AssertionError("nobody connects to the sink")
            time.sleep(0.01)

    def wait_all(self, seconds):
        if self.line(seconds) != "all":
            raise AssertionError("the sink speaks out of turn")

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


def tree_of(roots):
    """The processes and all their children."""
    parents = {}
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(path) as f:
                text = f.read()
        except OSError:
            continue
        parents[int(text.split(" ", 1)[0])] = int(text.rsplit(")", 1)[1].split()[1])
    found = [p for p in roots if p in parents]
    for pid in found:
        found.extend(p for p, parent in parents.items() if parent == pid)
    return found


def read(pid, name):
    try:
        with open(f"/proc/{pid}/{name}") as f:
            return f.read()
    except OSError:
        return ""


class Counters:
    """Sums over a tree of processes, with what children that have ended left to their parents."""

    def __init__(self, roots):
        self.cpu_s = self.written = self.peak_kb = 0
        for pid in tree_of(roots):
            stat = read(pid, "stat").rsplit(")", 1)[-1].split()
            if stat:
                self.cpu_s += sum(int(w) for w in stat[11:15]) / TICK
            match = re.search(r"^write_bytes: (\d+)", read(pid, "io"), re.MULTILINE)
            self.written += int(match.group(1)) if match else 0
            match = re.search(r"^VmHWM:\s+(\d+)", read(pid, "status"), re.MULTILINE)
            self.peak_kb += int(match.group(1)) if match else 0


def forget_peaks(roots):
    for pid in tree_of(roots):
        try:
            with open(f"/proc/{pid}/clear_refs", "w") as f:
                f.write("5")
        except OSError:
            pass


def threads(pid):
    """{thread's name: [user s, system s]}; threads of one kind together."""
    out = {}
    for path in glob.glob(f"/proc/{pid}/task/*/stat"):
        try:
            with open(path) as f:
                text = f.read()
        except OSError:
            continue
        name = re.sub(r"[-_ ]?\d+$", "", text[text.index("(") + 1:text.rindex(")")])
        words = text.rsplit(")", 1)[1].split()
        sums = out.setdefault(name, [0.0, 0.0])
        sums[0] += int(words[11]) / TICK
        sums[1] += int(words[12]) / TICK
    return out


class SyncCount:
    """Counts the syncs of processes with strace: too slow to time anything with, so a run of its own."""

    def __init__(self, folder):
        self.out = os.path.join(folder, "strace")
        self.process = None
        self.words = ["strace", "-f", "-c", "-e", "trace=" + ",".join(SYNCS), "-o", self.out]

    def attach(self, roots):
        words = list(self.words)
        for pid in tree_of(roots):
            words += ["-p", str(pid)]
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(1)  # there is no word from strace that it has attached

    def detach(self):
        if self.process:
            self.process.terminate()
            self.process.wait(10)

    def total(self):
        with open(self.out) as f:
            rows = [line.split() for line in f]
        return sum(int(r[3]) for r in rows if len(r) >= 5 and r[-1] in SYNCS)


def strace_missing():
    return None if shutil.which("strace") else "strace is not installed"


def environment(folder):
    """One line: processor, memory, kernel, file system below the data."""
    model = re.search(r"^model name\s*:\s*(.*)$", read("self", "../cpuinfo"), re.MULTILINE)
    kb = int(re.search(r"^MemTotal:\s+(\d+)", read("self", "../meminfo"), re.MULTILINE).group(1))
    found = subprocess.run(["df", "--output=fstype,source", folder], capture_output=True, text=True).stdout.split("\n")
    began = time.monotonic()
    path = os.path.join(folder, "sync-try")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    for _ in range(200):
        os.pwrite(fd, bytes(4096), 0)
        os.fdatasync(fd)
    os.close(fd)
    os.unlink(path)
    sync_us = (time.monotonic() - began) / 200 * 1e6
    return (f"{os.cpu_count()} × {model.group(1) if model else platform.machine()}, {kb >> 20} GB, "
            f"Linux {platform.release()}, {found[1].split()[0] if len(found) > 1 else '?'}; "
            f"a 4 KB write with fdatasync takes {sync_us:.0f} µs there")
