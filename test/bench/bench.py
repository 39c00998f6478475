#!/usr/bin/env python3
"""Drains the same jobs with postern and with others, side by side in one run; `make bench` calls it.

    bench.py [--smoke] [--case TEXT] [--party TEXT] [--perf]

    --smoke    200 mails, once, few of them slow: asserts only that every mail arrived once, whoever sent it
    --case     only cases whose name has TEXT in it;  --party: only such parties
    --perf     postern under perf, its unstripped twin: build/bench-perf.txt says where the time goes

BENCH_MAILS (20000), BENCH_REPEAT (3), BENCH_DIR (where all files lie; default: TMPDIR). Parties take turns (A B C
A B C), figures are medians. Ratios are what counts: a machine's mood touches all alike. The table is kept in
build/bench.md.
"""
import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import parties
from measure import ALL_OFFERS, TREE, Counters, Sink, SyncCount, environment, forget_peaks, strace_missing

WITHOUT_BDAT = ALL_OFFERS.replace("CHUNKING,", "")
PLAIN = WITHOUT_BDAT.replace("PIPELINING,", "")


class Case:
    """mails: {party's name and label: how many} where not all take `count`."""

    def __init__(self, name, count, size, racers, delay=0, mails=None):
        self.name, self.count, self.size, self.delay = name, count, size, delay
        self.racers = racers  # [(party's class, what the sink offers, label behind the name)]
        self.mails = mails or {}


def four(party):
    return type(party.__name__, (party,), {"limit": 4, "name": party.name + ", 4 connections"})


def cases(mails, slow, very_slow, large):
    p4, p8 = parties.postern(4), parties.postern(8)
    python, pool, relay, ceiling = parties.PythonWorker, parties.Nodemailer, parties.PostfixRelay, parties.Ceiling
    relay4 = four(relay)
    few = {python.name: very_slow, pool.name: slow // 2, relay4.name: slow // 2}
    return [
        Case("2 KB", mails, 2048,
             [(p4, ALL_OFFERS, ""), (p8, ALL_OFFERS, ""), (python, ALL_OFFERS, ""), (pool, ALL_OFFERS, ""),
              (relay, ALL_OFFERS, ""), (ceiling, "", "")]),
        Case("50 KB", large, 50 * 1024,
             [(p4, ALL_OFFERS, ""), (python, ALL_OFFERS, ""), (pool, ALL_OFFERS, ""), (relay, ALL_OFFERS, "")]),
        Case("2 KB, 20 ms", slow, 2048,
             [(p4, ALL_OFFERS, "; PIPELINING, CHUNKING"), (p4, WITHOUT_BDAT, "; PIPELINING"), (p4, PLAIN, "; neither"),
              (python, ALL_OFFERS, ""), (pool, ALL_OFFERS, ""), (relay4, ALL_OFFERS, "")],
             delay=20, mails={**few, p4.name + "; neither": slow // 4}),
    ]


class Bench:
    def __init__(self, folder, smoke=False, perf=False):
        self.folder, self.smoke, self.perf = folder, smoke, perf
        self.number = 0

    def run(self, case, party_class, offer, count, prefix=(), attach=None):
        """One drain: a dict of figures."""
        self.number += 1
        folder = os.path.join(self.folder, f"run{self.number}")
        os.mkdir(folder)
        sink = Sink(count, offer, case.delay)
        party = party_class(folder if party_class.__name__ != "Postern" else self.folder, sink.port)
        try:
            party.prepare(count, case.size)
            os.sync()
            party.start(prefix)
            if party.uses_sink and party.connections:
                sink.wait_open(party.connections)
            return self.drain(case, party, sink, count, attach)
        finally:
            try:
                party.close()
            finally:
                sink.close()
                shutil.rmtree(folder, ignore_errors=True)

    def drain(self, case, party, sink, count, attach):
        if attach:
            attach.attach(party.roots())
        forget_peaks(party.roots())
        before, own, sink_before = Counters(party.roots()), party.own_counters(), Counters([sink.process.pid])
        profiler = self.profile(party) if self.perf and party.counts_syncs else None
        greeted = sink.go()
        began = party.release() or greeted
        if party.uses_sink:
            sink.wait_all(1800)
        party.finish(count)
        ended = time.monotonic()
        stats = sink.stats()
        if isinstance(party, parties.PostfixRelay):
            ended = stats["all"]
        after, own_after, sink_after = Counters(party.roots()), party.own_counters(), Counters([sink.process.pid])
        if profiler:
            profiler.terminate()
            profiler.wait()
        if attach:
            attach.detach()
        if party.uses_sink:
            self.judge(party, stats, count)
        seconds = party.seconds or ended - began
        conns = max(1, stats["most_open"])
        return {
            "mails": count, "seconds": seconds, "rate": count / seconds,
            "cpu_ms": (after.cpu_s - before.cpu_s) / count * 1000,
            "peak_kb": after.peak_kb, "written": (after.written - before.written) / count,
            "own_written": (own_after["written"] - own["written"]) / count if own else None,
            "syncs": (own_after["syncs"] - own["syncs"]) / count if own else None,
            "trips": stats["trips"] / count, "commands": stats["commands"] / count, "reads": stats["reads"] / count,
            "connections": conns, "opened": stats["connections"],
            "sink_ms": (sink_after.cpu_s - sink_before.cpu_s) / count * 1000,
            "per_trip": count * case.delay / 1000 / seconds / conns if case.delay else None, "hints": party.hints(),
            "status_rate": party.status_rate(count),
        }

    @staticmethod
    def judge(party, stats, count):
        good = (stats["mails"], stats["distinct"], stats["doubled"]) == (count, count, 0)
        if not good or stats["violations"]:
            raise AssertionError(f"{party.name}: not every mail arrived once and well: {stats}")

    def profile(self, party):
        out = os.path.join(self.folder, "perf.data")
        return subprocess.Popen(["perf", "record", "-q", "-g", "-o", out, "-p", str(party.roots()[0])],
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def write_profile(self):
        out = os.path.join(self.folder, "perf.data")
        if not os.path.exists(out):
            return
        text = []
        for words in (["--no-children", "--sort", "comm"], ["--no-children", "--sort", "comm,symbol"]):
            done = subprocess.run(["perf", "report", "-i", out, "--stdio", "-g", "none", *words], capture_output=True,
                                  text=True)
            text += [line for line in done.stdout.splitlines() if line.strip() and line[0] != "#"][:80] + [""]
        path = os.path.join(TREE, "build", "bench-perf.txt")
        with open(path, "w") as f:
            f.write("\n".join(text))
        print("\n".join(text[:45]))

    def count_syncs(self, case, party_class, offer):
        """Syncs a mail in a run of its own, short, under strace."""
        count = min(case.count, 320)
        watcher = SyncCount(self.folder)
        if party_class.connections == 0:
            self.run(case, party_class, offer, count, attach=watcher)
        else:
            self.run(case, party_class, offer, count, prefix=watcher.words)
        return watcher.total() / count

    def race(self, case, repeat):
        """{label: {figure: median}} in the order of the racers."""
        runs = {}
        for turn in range(repeat):
            for party_class, offer, label in case.racers:
                name = party_class.name + label
                found = self.run(case, party_class, offer, case.mails.get(name, case.count))
                runs.setdefault(name, []).append(found)
                print(f"  {case.name}: {name}: {found['rate']:.0f}/s, {found['cpu_ms']:.3f} ms CPU, "
                      f"{found['peak_kb']} KB, {found['trips']:.2f} trips, {found['seconds']:.2f} s "
                      f"(sink: {found['sink_ms']:.3f} ms CPU); {found['hints']}", flush=True)
        out = {}
        for name, rows in runs.items():
            out[name] = {k: statistics.median(r[k] for r in rows) if isinstance(v, (int, float)) else v
                         for k, v in rows[0].items()}
        for party_class, offer, label in case.racers:
            row = out[party_class.name + label]
            if row["syncs"] is None and not self.smoke and not strace_missing():
                row["syncs"] = self.count_syncs(case, party_class, offer)
        return out


def cell(value, form):
    return "–" if value is None else format(value, form)


def table(case, rows):
    out = [f"### {case.name}: {case.count:,} mails", "",
           "| sender | mails | connections | mails/s | CPU ms/mail | peak KB | written B/mail | syncs/mail "
           "| round trips/mail | mails/round trip and connection |",
           "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"]
    for name, r in rows.items():
        mail = "ceiling" not in name
        out.append(f"| {name} | {r['mails']:,} | {r['connections'] if mail else '–'} | {r['rate']:,.0f} | "
                   f"{r['cpu_ms']:.3f} | {r['peak_kb']:,.0f} | {r['written']:,.0f} | {cell(r['syncs'], '.3f')} | "
                   f"{cell(r['trips'] if mail else None, '.2f')} | {cell(r['per_trip'], '.2f')} |")
    out += [""] + [f"{name}: {r['hints']}.  " for name, r in rows.items() if r["hints"]]
    return out + [""]


def ratios(results):
    """[(what, reached, to reach or None, is it, at most)]: the figures that are aimed at, and one that is only told."""
    out = []

    def add(what, value, goal, at_most=False):
        good = None if goal is None else value <= goal if at_most else value >= goal
        out.append((what, value, goal, good, at_most))
    fast = results.get("2 KB", {})
    slow = results.get("2 KB, 20 ms", {})
    for name in [n for n in fast if n.startswith("postern")]:
        for other, goal in (("Python worker", 15), ("Postfix", 8), ("ceiling (SQLite alone)", 0.4)):
            if other in fast:
                add(f"2 KB, {name}: mails/s as a multiple of: {other}", fast[name]["rate"] / fast[other]["rate"], goal)
                if fast[other]["status_rate"]:
                    add(f"2 KB, {name}: the same, of its noting of the status alone",
                        fast[name]["rate"] / fast[other]["status_rate"], None)
        add(f"2 KB, {name}: CPU, ms a mail", fast[name]["cpu_ms"], 0.3, True)
        add(f"2 KB, {name}: peak memory, KB", fast[name]["peak_kb"], 6144, True)
    for label, goal in (("; PIPELINING", 0.9), ("; PIPELINING, CHUNKING", 3)):
        name = "postern, 4 connections" + label
        if name in slow:
            add(f"20 ms{label}: mails a round trip and connection", slow[name]["per_trip"], goal)
    return out


def report(results, all_cases, where):
    out = [where + ".", "",
           "A drain is timed from the greeting of the sink (Postfix: from the start of its queue manager) to the moment "
           "the last mail is noted as sent (Postfix: to the last reply). CPU, memory and written bytes are summed over all "
           "of a sender's processes; memory shared between them counts in each. nodemailer keeps no record of what it "
           "sent; Postfix removes a file without a sync. Mails per round trip go by the clock: mails × delay / seconds / "
           "connections.", ""]
    for case in all_cases:
        if case.name in results:
            out += table(case, results[case.name])
    out += ["| | reached | to reach | |", "|---|---:|---:|---|"]
    for what, value, goal, good, at_most in ratios(results):
        aim = "–" if goal is None else f"{'≤' if at_most else '≥'} {goal:g}"
        out.append(f"| {what} | {value:.2f} | {aim} | {'' if good is None else 'yes' if good else 'no'} |")
    return "\n".join(out) + "\n"


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--perf", action="store_true")
    parser.add_argument("--case", default="")
    parser.add_argument("--party", default="")
    return parser.parse_args()


def choose(all_cases, args):
    """The cases and parties asked for; says who cannot take part."""
    for case in all_cases:
        wanted = []
        for racer in case.racers:
            why = racer[0].missing()
            if args.party.lower() not in (racer[0].name + racer[2]).lower():
                continue
            if why:
                print(f"  {case.name}: without {racer[0].name}: {why}")
            else:
                wanted.append(racer)
        case.racers = wanted
    return [c for c in all_cases if c.racers and args.case.lower() in c.name.lower()]


def asked_to_stop(number, frame):
    sys.exit(128 + number)  # all that was started is stopped on the way out


def main():
    args = parse()
    signal.signal(signal.SIGTERM, asked_to_stop)
    signal.signal(signal.SIGINT, asked_to_stop)
    if args.smoke:
        all_cases, repeat = cases(200, 80, 8, 20), 1
        for case in all_cases[1:]:  # it takes seconds to start and stop
            case.racers = [r for r in case.racers if not issubclass(r[0], parties.PostfixRelay)]
    else:
        parties.Nodemailer.install()
        mails, repeat = int(os.environ.get("BENCH_MAILS", "20000")), int(os.environ.get("BENCH_REPEAT", "3"))
        all_cases = cases(mails, min(mails, 4000), min(mails, 200), min(mails, 1000))
    if args.perf:
        os.environ.setdefault("POSTERN", os.path.join(TREE, "build", "x86_64-linux-musl", "postern.debug"))
    all_cases = choose(all_cases, args)
    base = tempfile.mkdtemp(prefix="postern-bench-", dir=os.environ.get("BENCH_DIR"))
    os.chmod(base, 0o755)
    tempfile.tempdir = base
    try:
        bench = Bench(base, args.smoke, args.perf)
        where = environment(base)
        print(where, flush=True)
        results = {case.name: bench.race(case, repeat) for case in all_cases}
        bench.write_profile()
    finally:
        shutil.rmtree(base, ignore_errors=True)
    if args.smoke:
        runs = sum(len(r) for r in results.values())
        print(f"ok: {runs} drains, every mail arrived once")
        return 0
    text = report(results, all_cases, where)
    if parties.Nodemailer.installed():
        text += f"\nnodemailer {parties.Nodemailer.installed()}, Python {sys.version.split()[0]}\n"
    print(text)
    if not args.case and not args.party:
        with open(os.path.join(TREE, "build", "bench.md"), "w") as f:
            f.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
