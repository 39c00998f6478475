"""A real postern process for a test: its directory, its configuration, its start, end and sudden end.

POSTERN names the command (default: the static x86_64 product of this tree); words before the path, such as
qemu-aarch64, are kept.
"""
import http.client
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def command():
    text = os.environ.get("POSTERN") or os.path.join(TREE, "build", "x86_64-linux-musl", "postern")
    return shlex.split(text)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=30):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Gateway:
    """ini: {section: {key: value}}; [gateway] data_dir and [api] listen are filled in; Maildirs lie below data_dir."""

    def __init__(self, ini, prefix=None, env=None):
        self.dir = tempfile.mkdtemp(prefix="postern-")
        self.data = os.path.join(self.dir, "data")
        self.file = os.path.join(self.dir, "postern.ini")
        self.log = os.path.join(self.dir, "log")
        self.command = prefix or command()
        self.env = dict(os.environ, **(env or {}))
        self.process = None
        self.port = free_port()
        self.write(ini)

    def write(self, ini):
        self.ini = {k: dict(v) for k, v in ini.items()}
        self.ini.setdefault("gateway", {}).setdefault("data_dir", self.data)
        for keys in self.ini.values():
            if keys.get("type") == "maildir":
                keys["path"] = os.path.join(self.data, keys["path"])
        self.ini.setdefault("api", {}).setdefault("listen", f"127.0.0.1:{self.port}")
        with open(self.file, "w") as f:
            for section, keys in self.ini.items():
                f.write(f"[{section}]\n")
                for key, value in keys.items():
                    f.write(f"{key} = {value}\n")
        os.chmod(self.file, 0o600)

    def start(self, wait=True):
        log = open(self.log, "ab")
        self.process = subprocess.Popen(self.command + ["-c", self.file, "run"], stdin=subprocess.DEVNULL,
                                        stdout=log, stderr=log, env=self.env, start_new_session=True)
        log.close()
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, seconds=30):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise AssertionError(f"the gateway ended with {self.process.returncode}:\n{self.log_text()}")
            try:
                if self.api("GET", "/readyz", timeout=2)[0] == 200:
                    return
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.01)
        raise AssertionError(f"the gateway is not ready after {seconds} s:\n{self.log_text()}")

    def kill(self):
        """The power goes: no chance to tidy up."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None

    def stop(self, seconds=15):
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the gateway did not end within {seconds} s of SIGTERM:\n{self.log_text()}")
        self.process = None
        return code

    def close(self):
        try:
            if self.process is not None:
                self.kill()
            said = self.log_text(1 << 24)
        finally:
            shutil.rmtree(self.dir, ignore_errors=True)
        for name in ("ThreadSanitizer", "AddressSanitizer", "runtime error:"):
            if name in said:  # with a product of host-tsan or host-asan
                raise AssertionError(said[max(0, said.index(name) - 200):][:6000])

    def log_text(self, last=20000):
        try:
            with open(self.log, "rb") as f:
                return f.read()[-last:].decode("utf-8", "replace")
        except OSError:
            return ""

    def socket_path(self):
        return self.ini["api"].get("socket", os.path.join(self.data, "postern.sock"))

    def connection(self, timeout=30):
        return UnixConnection(self.socket_path(), timeout)

    def api(self, method, path, body=None, headers=None, timeout=30):
        """One request over the Unix socket: (status, decoded JSON or text)."""
        connection = self.connection(timeout)
        try:
            data = json.dumps(body) if isinstance(body, (dict, list)) else body
            connection.request(method, path, data, {"Content-Type": "application/json", **(headers or {})})
            answer = connection.getresponse()
            text = answer.read()
            try:
                return answer.status, json.loads(text)
            except ValueError:
                return answer.status, text.decode("utf-8", "replace")
        finally:
            connection.close()

    def cli(self, *words, stdin=None, timeout=60):
        """A postern command beside the gateway: CompletedProcess with text output."""
        return subprocess.run(self.command + ["-c", self.file, *words], input=stdin, capture_output=True, text=True,
                              timeout=timeout, env=self.env)

    def wait_state(self, id_, states=("completed", "failed"), seconds=60):
        end = time.monotonic() + seconds
        job = None
        while time.monotonic() < end:
            status, job = self.api("GET", f"/api/emails/{id_}")
            if status == 200 and job["state"] in states:
                return job
            time.sleep(0.05)
        raise AssertionError(f"job {id_} is not in {states} after {seconds} s: {job}\n{self.log_text(4000)}")

    def wait_drained(self, seconds=120):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            left = [self.api("GET", f"/api/emails?state={s}&limit=1")[1]["items"] for s in ("pending", "processing")]
            if not any(left):
                return
            time.sleep(0.1)
        raise AssertionError(f"jobs are still waiting after {seconds} s: {left}\n{self.log_text(4000)}")
