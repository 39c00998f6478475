"""Who races: each takes the same jobs into a store of its own, waits for the sink's greeting, and drains.

A party's life: prepare (untimed), start, release, finish, close. Everything lies below one folder and is stopped by its
own process id. `roots` are the processes whose trees are measured.
"""
import email.message
import email.policy
import glob
import json
import os
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))
import postfix  # noqa: E402
from gateway import TREE, Gateway  # noqa: E402
from measure import threads  # noqa: E402

LINE = "The quick brown fox jumps over the lazy dog, and 0123456789 more of it too\n"


def jobs(count, size):
    """The same for everybody: plain text of `size` bytes to one recipient."""
    text = (LINE * (size // len(LINE) + 1))[:size - 1] + "\n"
    for n in range(count):
        yield {"from": "gw@example.com", "to": ["user@example.com"], "subject": f"Report number {n}",
               "body_format": "TEXT", "body_content": f"{n:08}" + text[8:]}


class Child:
    """A program that says "done" on standard output and ends when its standard input does."""

    def __init__(self, words, prefix=()):
        self.process = subprocess.Popen([*prefix, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def wait_line(self, seconds=900):
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        line = self.process.stdout.readline().decode() if ready else ""
        if not line:
            raise AssertionError(f"no word from {self.process.args} (exit code {self.process.poll()})")
        return line

    def end(self):
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


class Party:
    name = ""
    connections = 1     # that will wait for their greeting
    uses_sink = True
    counts_syncs = False  # tells its syncs itself

    def __init__(self, folder, port):
        self.folder, self.port = folder, port
        self.seconds = None  # when it measures itself

    @classmethod
    def missing(cls):
        return None

    def prepare(self, count, size):
        pass

    def start(self, prefix=()):
        pass

    def roots(self):
        return []

    def release(self):
        """Beside the greeting; returns the time when given."""

    def finish(self, count):
        """Returns when all is not only sent but noted so."""

    def own_counters(self):
        """{written, syncs} as the party itself counts them."""
        return {}

    def status_rate(self, count):
        """Of the ceiling: jobs a second while it only notes their status."""
        return None

    def hints(self):
        """Where the time went, in words."""
        return ""

    def close(self):
        pass


class Postern(Party):
    """The static product. Its store is filled once through the API; each run starts on a copy."""
    workers, counts_syncs = 4, True
    filled = {}  # (count, size) -> folder
    accept_rate = {}

    def ini(self, port):
        return {"provider.default": {"type": "smtp", "host": "127.0.0.1", "port": port, "tls": "none", "auth": "none",
                                     "from": "gw@example.com", "connections": self.connections},
                "worker": {"min": self.workers, "max": self.workers}, "store": {"max_bytes": "2G"}}

    def prepare(self, count, size):
        key = (count, size)
        if key not in self.filled:
            self.filled[key] = self.fill(count, size)
        self.gateway = Gateway(self.ini(self.port))
        shutil.copytree(self.filled[key], self.gateway.data)
        os.chmod(self.gateway.data, 0o700)

    def fill(self, count, size):
        from measure import Sink
        sink = Sink(count)  # it never greets: nothing is sent, and nothing is held back
        gateway = Gateway(self.ini(sink.port))
        try:
            gateway.start()
            waiting, began = [], time.monotonic()
            at_once = max(1, min(250, 700000 // (size + 300)))
            for n, job in enumerate(jobs(count, size), 1):
                waiting.append(job)
                if len(waiting) == at_once or n == count:
                    status, answer = gateway.api("POST", "/api/emails", waiting)
                    if status != 202:
                        raise AssertionError(f"{status} {answer}")
                    waiting = []
            self.accept_rate[(count, size)] = count / (time.monotonic() - began)
            gateway.kill()  # what was accepted is on flash; a stop would wait for the greeting a while
            folder = os.path.join(self.folder, f"filled-{count}-{size}")
            shutil.copytree(gateway.data, folder, ignore=shutil.ignore_patterns("*.sock"))
            return folder
        finally:
            gateway.close()
            sink.close()

    def start(self, prefix=()):
        self.gateway.start()

    def roots(self):
        return [self.gateway.process.pid]

    def own_counters(self):
        flash = self.gateway.api("GET", "/api/status")[1]["flash"]
        return {"written": flash["written_bytes"], "syncs": flash["syncs"]}

    def finish(self, count):
        end = time.monotonic() + 300
        while time.monotonic() < end:
            status = self.gateway.api("GET", "/api/status")[1]
            if status["jobs"]["completed"] >= count:
                return
            time.sleep(0.005)
        raise AssertionError(f"not all completed: {status['jobs']}\n{self.gateway.log_text(4000)}")

    def hints(self):
        """Which threads used the processor."""
        rows = sorted(threads(self.gateway.process.pid).items(), key=lambda r: -sum(r[1]))
        said = [f"{name} {user:.2f} + {system:.2f} s" for name, (user, system) in rows if user + system > 0]
        return "CPU of its threads, user + system: " + ", ".join(said) if said else ""

    def close(self):
        try:
            self.gateway.stop(30)
        finally:
            self.gateway.close()


def postern(connections, workers=None, name=None):
    return type("Postern", (Postern,), {"connections": connections, "workers": workers or connections,
                                        "name": name or f"postern, {connections} connections"})


class PythonWorker(Party):
    name = "Python worker"

    def prepare(self, count, size):
        self.file = os.path.join(self.folder, "worker.db")
        db = sqlite3.connect(self.file)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("CREATE TABLE job(id INTEGER PRIMARY KEY, job TEXT NOT NULL, status INTEGER NOT NULL DEFAULT 0, "
                   "sent_at REAL)")
        db.execute("CREATE INDEX job_waiting ON job(id) WHERE status = 0")
        with db:
            db.executemany("INSERT INTO job(job) VALUES(?)", ((json.dumps(j),) for j in jobs(count, size)))
        db.close()

    def start(self, prefix=()):
        self.child = Child([sys.executable, os.path.join(HERE, "worker.py"), self.file, str(self.port)], prefix)

    def roots(self):
        return [self.child.process.pid]

    def finish(self, count):
        self.child.wait_line()

    def close(self):
        self.child.end()


class Nodemailer(Party):
    name = "nodemailer, pool of 4"
    connections = 4

    @staticmethod
    def cache():
        base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        return os.path.join(os.environ.get("POSTERN_CACHE") or os.path.join(base, "postern"), "npm")

    @classmethod
    def installed(cls):
        """Its version, None when it is not there."""
        try:
            with open(os.path.join(cls.cache(), "node_modules", "nodemailer", "package.json")) as f:
                return json.load(f)["version"]
        except (OSError, ValueError, KeyError):
            return None

    @classmethod
    def install(cls):
        """By name, through the user's npm settings, into the cache outside the tree."""
        if cls.installed() or not shutil.which("npm"):
            return
        os.makedirs(cls.cache(), exist_ok=True)
        done = subprocess.run(["npm", "install", "--no-save", "--prefix", cls.cache(), "nodemailer"],
                              capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            print(f"npm install nodemailer: {done.stderr.strip()[-400:]}", file=sys.stderr)

    @classmethod
    def missing(cls):
        if not shutil.which("node"):
            return "node is not installed"
        return None if cls.installed() else "nodemailer is not installed"

    def prepare(self, count, size):
        self.file = os.path.join(self.folder, "jobs.jsonl")
        with open(self.file, "w") as f:
            f.writelines(json.dumps(j) + "\n" for j in jobs(count, size))

    def start(self, prefix=()):
        words = ["node", os.path.join(HERE, "pool.js"), self.cache(), self.file, str(self.port)]
        self.child = Child(words, prefix)

    def roots(self):
        return [self.child.process.pid]

    def finish(self, count):
        self.child.wait_line()

    def close(self):
        self.child.end()


class RelayPostfix(postfix.Postfix):
    """A Postfix that takes mail from loopback and relays all of it to one port. Mails that come in are put on hold; the
    queue manager is not there before the mails lie in `incoming` and are to go out."""

    def __init__(self, relay, limit=None):
        self.relay, self.limit = relay, limit
        super().__init__()

    def configure(self, cert, key):
        main = {
            "compatibility_level": "3.6", "queue_directory": self.path("queue"), "data_directory": self.path("data"),
            "myhostname": "mx.example.com", "mydestination": "", "inet_interfaces": "127.0.0.1",
            "inet_protocols": "ipv4", "maillog_file": self.path("maillog"), "maillog_file_prefixes": self.dir,
            "mynetworks": "127.0.0.0/8",
            "smtpd_relay_restrictions": "permit_mynetworks, reject", "relayhost": f"[127.0.0.1]:{self.relay}",
            "disable_dns_lookups": "yes", "smtp_tls_security_level": "none", "smtpd_client_connection_count_limit": "0",
            "smtpd_client_restrictions": "check_client_access static:HOLD",
            "alias_maps": "", "alias_database": "", "local_recipient_maps": "",
        }
        if self.limit:
            main.update(smtp_destination_concurrency_limit=self.limit, initial_destination_concurrency=self.limit)
        with open(self.path("conf", "main.cf"), "w") as f:
            f.writelines(f"{k} = {v}\n" for k, v in main.items())
        self.services(False)

    def services(self, manager):
        rows = [f"{self.port} inet n - n - - smtpd"]
        for name, kind, program, wake, limit in (
                ("cleanup", "unix", "cleanup", "-", "0"), ("qmgr", "unix", "qmgr", "300", "1"),
                ("rewrite", "unix", "trivial-rewrite", "-", "-"), ("bounce", "unix", "bounce", "-", "0"),
                ("defer", "unix", "bounce", "-", "0"), ("trace", "unix", "bounce", "-", "0"),
                ("smtp", "unix", "smtp", "-", "-"), ("error", "unix", "error", "-", "-"),
                ("retry", "unix", "error", "-", "-"),
                ("scache", "unix", "scache", "-", "1"), ("anvil", "unix", "anvil", "-", "1"),
                ("proxymap", "unix", "proxymap", "-", "-"), ("postlog", "unix-dgram", "postlogd", "-", "1")):
            if name != "qmgr" or manager:
                private = "n" if name in ("cleanup", "qmgr", "postlog") else "y"
                rows.append(f"{name} {kind} {private} - n {wake} {limit} {program}")
        with open(self.path("conf", "master.cf"), "w") as f:
            f.write("\n".join(rows) + "\n")

    def start(self):
        subprocess.run(postfix.sudo() + ["chown", "postfix", self.path("data")], check=True)
        done = self.postfix("start")
        if done.returncode:
            raise AssertionError(f"postfix start: {done.stdout}{done.stderr}{self.log_text()}")
        return self

    def hand_in(self, number, mails):
        """One connection; every 250 is a mail synced in the queue."""
        with socket.create_connection(("127.0.0.1", self.port)) as s, s.makefile("rwb") as f:
            def answer(code):
                while True:
                    line = f.readline()
                    if not line.startswith(code):
                        raise AssertionError(f"postfix answers {line!r}")
                    if line[3:4] != b"-":
                        return
            answer(b"220")
            f.write(b"EHLO filler.example.com\r\n")
            f.flush()
            answer(b"250")
            for n, job in mails:
                mail = email.message.EmailMessage(policy=email.policy.SMTP)
                mail["From"], mail["To"], mail["Subject"] = job["from"], job["to"][0], job["subject"]
                mail["Message-ID"] = f"<{n}@filler.example.com>"
                mail.set_content(job["body_content"])
                f.write(b"MAIL FROM:<%s>\r\nRCPT TO:<%s>\r\nDATA\r\n" % (job["from"].encode(), job["to"][0].encode()))
                f.flush()
                for code in (b"250", b"250", b"354"):
                    answer(code)
                f.write(mail.as_bytes() + b".\r\n")
                f.flush()
                answer(b"250")
            f.write(b"QUIT\r\n")

    def fill(self, count, size, lanes=4):
        mails = list(enumerate(jobs(count, size)))
        problems = []

        def lane(number):
            try:
                self.hand_in(number, mails[number::lanes])
            except (OSError, AssertionError) as problem:
                problems.append(problem)
        all_lanes = [threading.Thread(target=lane, args=(n,)) for n in range(lanes)]
        for t in all_lanes:
            t.start()
        for t in all_lanes:
            t.join()
        if problems:
            raise AssertionError(f"{problems[0]}\n{self.log_text()[-3000:]}")
        subprocess.run(postfix.sudo() + ["find", self.path("queue", "hold"), "-type", "f", "-exec", "mv", "-t",
                                         self.path("queue", "incoming"), "{}", "+"], check=True)


class PostfixRelay(Party):
    name = "Postfix"
    connections = 0  # none before it is released
    limit = None

    @classmethod
    def missing(cls):
        return postfix.missing()

    def prepare(self, count, size):
        self.server = RelayPostfix(self.port, self.limit).start()
        self.server.fill(count, size)

    def roots(self):
        return [self.server.pid()]

    def release(self):
        self.server.services(True)
        began = time.monotonic()
        subprocess.run(postfix.sudo() + ["kill", "-HUP", str(self.server.pid())], check=True)
        return began

    def close(self):
        self.server.close()


class Ceiling(Party):
    """No mail: the same SQLite stores jobs and their status in batches of 64."""
    name = "ceiling (SQLite alone)"
    uses_sink = False

    def prepare(self, count, size):
        program = os.path.join(TREE, "build", "x86_64-linux-musl", "test", "bench", "ceiling")
        self.words = [program, os.path.join(self.folder, "ceiling.db"), str(count), str(size)]

    def start(self, prefix=()):
        self.prefix = prefix

    def release(self):
        self.child = Child(self.words, self.prefix)

    def roots(self):
        return [self.child.process.pid] if hasattr(self, "child") else []

    def finish(self, count):
        said = json.loads(self.child.wait_line())
        self.seconds = said["seconds"]
        self.said = said

    def hints(self):
        return f"{self.said['storing']:.2f} s for storing, {self.said['status']:.2f} s for the status"

    def status_rate(self, count):
        return count / self.said["status"]

    def close(self):
        self.child.end()
