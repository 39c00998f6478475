"""Bad input over HTTP, byte by byte where it matters. Whatever comes: a clear answer, nothing stored, still alive."""
import http.client
import json
import os
import resource
import socket
import threading
import time
import unittest

from gateway import Gateway

JOB = {"to": ["user@example.com"], "subject": "s", "body_format": "TEXT", "body_content": "x"}


def job(**members):
    return {**JOB, **members}


# (what is sent, status, pointer, a word of the reason)
REFUSED = [
    ("", 400, None, ""),
    ("not json", 400, "", ""),
    ("{}", 400, None, ""),
    ("[" * 100000, 400, "", ""),
    ("[]", 400, None, ""),
    ("5", 400, "", ""),
    ('{"to":["a@b.c"],"subject":"\\ud800","body_content":"x"}', 400, None, ""),
    (b'{"to":["a@b.c"],"subject":"\xff","body_content":"x"}', 400, None, ""),
    (job(to="user@example.com"), 400, "/to", "array"),
    (job(to=[]), 400, "/to", ""),
    (job(to=["user@example.com", 5]), 400, "/to/1", ""),
    (job(to=["not an address"]), 400, "/to/0", "address"),
    (job(to=["a@b.c\r\nRCPT TO:<x@y.z>"]), 400, "/to/0", ""),
    (job(to=["a@b.c\x00"]), 400, "/to/0", ""),
    (job(cc=["x" * 65 + "@example.com"]), 400, "/cc/0", ""),
    (job(to=["a@" + "b" * 64 + ".com"]), 400, "/to/0", ""),
    (job(to=[f"u{n}@example.com" for n in range(101)]), 400, "/to/100", "100"),
    (job(recipients=["a@b.c"]), 400, None, ""),
    (job(**{"from": "evil\r\nBcc: x@y.z <a@b.c>"}), 400, "/from", ""),
    (job(subject="a\r\nBcc: x@y.z"), 400, "/subject", ""),
    (job(subject=5), 400, "/subject", ""),
    (job(body_format="PDF"), 400, "/body_format", ""),
    (job(body_content=None), 400, None, ""),
    (job(headers={"Bcc": "x@y.z"}), 400, "/headers/Bcc", ""),
    (job(headers={"X-A": "a\r\nX-B: b"}), 400, "/headers/X-A", ""),
    (job(headers={"X A": "b"}), 400, "/headers/X A", ""),
    (job(headers={"X-A:": "b"}), 400, "/headers/X-A:", ""),
    (job(headers=["x"]), 400, "/headers", ""),
    (job(headers={"Content-Type": "text/evil"}), 400, "/headers/Content-Type", ""),
    (job(priority="urgent"), 400, "/priority", ""),
    (job(send_at="tomorrow"), 400, "/send_at", ""),
    (job(provider_id="nobody"), 400, "/provider_id", "nobody"),
    (job(reply_to="x"), 400, "/reply_to", ""),
    (job(envelope_from="a@b.c>\r\nDATA"), 400, "/envelope_from", ""),
    ({"recipients": ["a@b.c"]}, 400, None, ""),
    ({"recipients": ["a@b.c"], "plain_body": 7}, 400, "/plain_body", ""),
    ([JOB, job(to=["bad"])], 400, "/1/to/0", ""),
]


class HttpTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.gateway = Gateway({"provider.default": {"type": "maildir", "path": "maildir", "from": "gw@example.com"}})
        cls.gateway.start()

    @classmethod
    def tearDownClass(cls):
        cls.gateway.close()

    def stored(self):
        """The newest job's id."""
        return [i["id"] for i in self.gateway.api("GET", "/api/emails?limit=1")[1]["items"]]

    def test_refusals(self):
        newest = self.stored()
        for body, status, pointer, word in REFUSED:
            with self.subTest(body=str(body)[:120]):
                got, answer = self.gateway.api("POST", "/api/emails", body)
                self.assertEqual(got, status, answer)
                self.assertIs(answer["success"], False)
                self.assertTrue(answer["error"])
                if pointer is not None:
                    self.assertEqual(answer.get("pointer"), pointer, answer)
                self.assertIn(word, answer["error"])
        self.assertEqual(self.stored(), newest, "nothing refused is stored")

    def test_identity(self):
        first = self.gateway.api("POST", "/api/emails", job(message_id="same", timestamp="2025-09-19T10:30:00Z"))
        again = self.gateway.api("POST", "/api/emails", job(message_id="same", timestamp="2026-01-01T00:00:00Z"))
        other = self.gateway.api("POST", "/api/emails", job(message_id="same", subject="other"))
        tenant = self.gateway.api("POST", "/api/emails", job(message_id="same", tenant_id="t", subject="other"))
        self.assertEqual((first[0], again[0], other[0], tenant[0]), (202, 200, 409, 202))
        self.assertEqual(first[1]["id"], again[1]["id"])
        self.assertEqual(first[1]["message_id"], "same")

    def test_both_formats_and_php(self):
        for body in ({"recipients": ["a@example.com"], "subject": "s", "plain_body": "x", "email_type": "welcome",
                      "context": [], "attachments": [], "source_app": "app", "related_model_id": 7},
                     job(headers=[], attachments=[], cc=None, context=[], unknown={"x": [1]}),
                     job(text_content="t", body_format="HTML")):
            status, answer = self.gateway.api("POST", "/api/emails", body)
            self.assertEqual(status, 202, answer)
            self.assertEqual(self.gateway.wait_state(answer["id"])["state"], "completed")

    def test_all_or_nothing(self):
        before = self.stored()
        status, answer = self.gateway.api("POST", "/api/emails", [job(), job(provider_id="nobody")])
        self.assertEqual(status, 400)
        self.assertEqual(self.stored(), before)

    def test_large_arrays(self):
        status, answer = self.gateway.api("POST", "/api/emails", [job(subject=f"array {n}") for n in range(1000)])
        self.assertEqual(status, 202, answer)
        self.assertEqual(len({i["id"] for i in answer["items"]}), 1000)
        status, answer = self.gateway.api("POST", "/api/emails", [job()] * 1001)
        self.assertEqual(status, 413, answer)
        self.assertIn("1000", answer["error"])

    def raw(self, data, tcp=True, shut=True):
        if tcp:
            s = socket.create_connection(("127.0.0.1", self.gateway.port), 10)
        else:
            s = socket.socket(socket.AF_UNIX)
            s.connect(self.gateway.socket_path())
        s.settimeout(20)
        with s:
            try:
                s.sendall(data)
                if shut:
                    s.shutdown(socket.SHUT_WR)
                out = b""
                while True:
                    more = s.recv(65536)
                    if not more:
                        return out
                    out += more
            except OSError:
                return b""

    def test_wire(self):
        body = json.dumps(JOB).encode()
        before = self.stored()
        for what in (b"", b"\0" * 100, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"A" * 100000,
                     b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"X: " + b"y" * 100000 + b"\r\n\r\n",
                     b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 10000 + b"\r\n",
                     b"POST /api/emails HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n" + body,
                     b"POST /api/emails HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n" + body,
                     b"POST /api/emails HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
                     b"POST /api/emails HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n\r\n" + body[:20]):
            self.raw(what)
        self.assertEqual(self.stored(), before, "half a request is no job")
        self.assertEqual(self.gateway.api("GET", "/healthz")[0], 200)

    def test_smuggling_shapes(self):
        inner = json.dumps(job(subject="smuggled")).encode()
        hidden = b"POST /api/emails HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (len(inner), inner)
        for head in (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"Content-Length: 5\r\nContent-Length: 0\r\n",
                     b"Transfer-Encoding: xchunked\r\nContent-Length: 5\r\n", b"Transfer-Encoding : chunked\r\n"):
            with self.subTest(head=head):
                out = self.raw(b"POST /api/emails HTTP/1.1\r\nHost: localhost\r\n" + head + b"\r\n0\r\n\r\n" + hidden)
                self.assertLessEqual(out.count(b"HTTP/1.1 "), 1, "one request, at most one answer")
                self.assertNotIn(b" 202 ", out)
        self.assertEqual(self.gateway.api("GET", "/api/emails?q=smuggled")[1]["items"], [])

    def test_doubled_fields(self):
        body = json.dumps(job(subject="doubled")).encode()
        port = self.gateway.port
        for head in (f"Host: localhost:{port}\r\nHost: evil.example", f"Host: localhost:{port}\r\nhost: localhost:{port}",
                     f"Host: localhost:{port}\r\nOrigin: http://localhost:{port}\r\nOrigin: https://evil.example",
                     f"Host: localhost:{port}\r\nSec-Fetch-Site: none\r\nSec-Fetch-Site: cross-site"):
            for tcp in (True, False):
                with self.subTest(head=head, tcp=tcp):
                    out = self.raw(f"POST /api/emails HTTP/1.1\r\n{head}\r\nConnection: close\r\n"
                                   f"Content-Length: {len(body)}\r\n\r\n".encode() + body, tcp)
                    self.assertIn(b"HTTP/1.1 400 ", out)
        for second in ("gzip", "chunked", "identity"):
            with self.subTest(second=second):
                out = self.raw(f"POST /api/emails HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
                               f"Transfer-Encoding: {second}\r\n\r\n{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n")
                self.assertIn(b"HTTP/1.1 400 ", out)
        self.assertEqual(self.gateway.api("GET", "/api/emails?q=doubled")[1]["items"], [])

    def test_hosts(self):
        for target, host, status in (("/healthz", "localhost", 200), ("/healthz", "127.0.0.1:8000", 200),
                                     ("/healthz", "[::1]:8000", 200), ("/healthz", "localhost:80@evil.example", 403),
                                     ("/healthz", "localhost:", 403), ("/healthz", "localhost:65536", 403),
                                     ("/healthz", "[::1]x", 403), ("/healthz", "[127.0.0.1]", 403),
                                     ("/healthz", "[::1]:80@evil.example", 403), ("/healthz", "localhost:8x", 403),
                                     ("http://127.0.0.1:8000/healthz", "127.0.0.1:8000", 200),
                                     ("HTTP://localhost/healthz?x=1", "localhost", 200),
                                     ("http://127.0.0.1", "localhost", 404), ("http://127.0.0.1?/healthz", "localhost", 404),
                                     ("http:///healthz", "localhost", 403),
                                     ("http://evil.example/healthz", "localhost", 403),
                                     ("http://localhost/healthz", "evil.example", 403),
                                     ("http://localhost:80@evil.example/healthz", "localhost", 403),
                                     ("http://evil.example?http://localhost/healthz", "localhost", 404),
                                     ("ftp://127.0.0.1/healthz", "localhost", 404)):
            with self.subTest(target=target, host=host):
                out = self.raw(f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
                self.assertIn(f"HTTP/1.1 {status} ".encode(), out)

    def test_large_bodies(self):
        big = job(body_content="x" * 900_000)
        status, answer = self.gateway.api("POST", "/api/emails", big)
        self.assertEqual(status, 202, answer)
        self.assertEqual(self.gateway.wait_state(answer["id"])["state"], "completed")
        for size in (1_100_000, 20_000_000):
            status, answer = self.gateway.api("POST", "/api/emails", job(body_content="x" * size))
            self.assertEqual(status, 413, answer)
        self.assertEqual(self.gateway.api("GET", "/healthz")[0], 200)

    def test_browser_from_elsewhere(self):
        body = json.dumps(JOB)
        for headers in ("Origin: https://evil.example\r\n", "Host: evil.example\r\n"):
            host = "" if headers.startswith("Host") else f"Host: 127.0.0.1:{self.gateway.port}\r\n"
            out = self.raw((f"POST /api/emails HTTP/1.1\r\n{host}{headers}Connection: close\r\n"
                            f"Content-Length: {len(body)}\r\n\r\n{body}").encode())
            self.assertRegex(out.split(b"\r\n")[0], rb" 40[0-9] ", out)

    def test_methods_and_paths(self):
        for method, path, status in (("GET", "/healthz", 200), ("GET", "/readyz", 200), ("GET", "/nothing", 404),
                                     ("DELETE", "/healthz", 405), ("PUT", "/api/emails/1", 405),
                                     ("GET", "/api/emails/0", 404), ("GET", "/api/emails/x", 404),
                                     ("GET", "/api/emails?state=lost", 400), ("GET", "/api/emails?limit=-1", 400),
                                     ("GET", "/api/emails?cursor=x", 400), ("GET", "/api/health", 200),
                                     ("GET", "/api/rabbitmq/status", 200), ("GET", "/%2e%2e/etc/passwd", 404)):
            self.assertEqual(self.gateway.api(method, path)[0], status, f"{method} {path}")
        status = self.gateway.api("GET", "/api/rabbitmq/status")[1]
        self.assertEqual(status["connection_status"], "embedded")
        self.assertIn("email.send", status["queues"])

    def test_many_connections(self):
        answers = []

        def one(n):
            answers.append(self.gateway.api("POST", "/api/emails", job(message_id=f"c{n}"))[0])
        threads = [threading.Thread(target=one, args=(n,)) for n in range(64)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertTrue(all(a in (202, 503, 429) for a in answers), answers)
        self.assertGreater(answers.count(202), 0)
        idle = [socket.create_connection(("127.0.0.1", self.gateway.port), 5) for _ in range(50)]
        try:
            self.assertEqual(self.gateway.api("GET", "/healthz")[0], 200, "idle connections do not shut others out")
        finally:
            for s in idle:
                s.close()

    def test_cursor(self):
        for n in range(25):
            self.gateway.api("POST", "/api/emails", job(subject=f"page {n}"))
        seen, cursor = [], ""
        while True:
            answer = self.gateway.api("GET", f"/api/emails?q=page&limit=10{cursor}")[1]
            seen += [i["id"] for i in answer["items"]]
            if answer["next"] is None:
                break
            cursor = f"&cursor={answer['next']}"
        self.assertEqual(len(seen), 25)
        self.assertEqual(seen, sorted(set(seen), reverse=True))


class ShutOutTest(unittest.TestCase):
    """Clients of the port that take all they can get."""

    def setUp(self):
        self.gateway = Gateway({"provider.default": {"type": "maildir", "path": "maildir", "from": "gw@example.com"}})
        self.addCleanup(self.gateway.close)

    def connect(self, count):
        def one():
            s = socket.create_connection(("127.0.0.1", self.gateway.port), 5)
            self.addCleanup(s.close)
            return s
        return [one() for _ in range(count)]

    def drip(self, connections, bytes_):
        """A byte to each; those that still take it."""
        left = []
        for s in connections:
            try:
                s.sendall(bytes_)
                left.append(s)
            except OSError:
                pass
        return left

    def test_dripping_heads(self):
        self.gateway.start()
        began = time.monotonic()
        left = self.connect(120)
        left = self.drip(left, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Drip: ")
        time.sleep(0.5)
        self.assertEqual(self.gateway.api("GET", "/healthz", timeout=2)[0], 200, "the admin still gets in")
        self.assertEqual(self.gateway.cli("send", "--to", "a@example.com", "--text", "x", timeout=5).returncode, 0)
        while left and time.monotonic() < began + 30:
            time.sleep(1)
            left = self.drip(left, b"x")
        self.assertEqual(left, [], "a head must be there in time")
        s = self.connect(1)[0]
        s.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        self.assertIn(b" 200 ", s.recv(1000))

    def test_each_way_in_leaves_room(self):
        """Whoever opens all the connections that one way takes, and says nothing, is in nobody's way on the others."""
        def connect(at):
            s = socket.socket(socket.AF_UNIX if isinstance(at, str) else socket.AF_INET)
            self.addCleanup(s.close)
            s.connect(at)
            s.settimeout(5)
            return s

        def submit(at):
            s, body = connect(at), json.dumps(JOB).encode()
            s.sendall(b"POST /api/emails HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                      b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
            try:
                return s.recv(1000).split(b"\r\n")[0]
            except OSError as e:
                return str(e).encode()
        for full in ("submit", "socket", "tcp"):
            with self.subTest(full=full):
                g = Gateway({"provider.default": {"type": "maildir", "path": "maildir", "from": "gw@example.com"}})
                self.addCleanup(g.close)
                g.write({**g.ini, "api": {"submit_socket": os.path.join(g.dir, "submit.sock")}})
                g.start()
                ways = {"submit": g.ini["api"]["submit_socket"], "socket": g.socket_path(), "tcp": ("127.0.0.1", g.port)}
                idle = [connect(ways[full]) for _ in range(160)]
                for other in ways:
                    if other != full:
                        self.assertIn(b" 202 ", submit(ways[other]), other)
                del idle

    def test_out_of_descriptors(self):
        self.gateway.start()
        pid = self.gateway.process.pid
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (40, 40))
        idle = self.connect(60)
        time.sleep(0.5)
        before = self.cpu_seconds(pid)
        time.sleep(4)
        self.assertLess(self.cpu_seconds(pid) - before, 0.3, "it does not run in circles")
        self.assertEqual(self.gateway.log_text().count("descriptor"), 1, self.gateway.log_text())
        for s in idle:
            s.close()
        end = time.monotonic() + 10
        while time.monotonic() < end:
            try:
                if self.gateway.api("GET", "/healthz", timeout=5)[0] == 200:
                    return
            except (OSError, http.client.HTTPException):
                time.sleep(0.2)
        self.fail("it accepts again")

    def cpu_seconds(self, pid):
        with open(f"/proc/{pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class TrickleTest(unittest.TestCase):
    """Clients that send a byte now and then, each holding one of the two large memories."""

    def setUp(self):
        self.gateway = Gateway({"provider.default": {"type": "maildir", "path": "maildir", "from": "gw@example.com"}})
        self.addCleanup(self.gateway.close)
        self.gateway.start()
        self.over = threading.Event()
        self.addCleanup(self.over.set)
        self.ended = [self.trickle(), self.trickle()]

    def trickle(self):
        s = socket.create_connection(("127.0.0.1", self.gateway.port), 10)
        s.sendall(b"POST /api/emails HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500000\r\n\r\n[" + b" " * 20000)
        time.sleep(0.3)
        ended = threading.Event()

        def run():
            with s:
                try:
                    while not self.over.wait(0.2):
                        s.sendall(b" ")
                except OSError:
                    ended.set()
        threading.Thread(target=run, daemon=True).start()
        return ended

    def large(self, answers):
        def run():
            try:
                answers.append(self.gateway.api("POST", "/api/emails", job(body_content="x" * 50_000), timeout=100)[0])
            except (OSError, http.client.HTTPException) as e:
                answers.append(e)
        t = threading.Thread(target=run, daemon=True)
        t.start()
        return t

    def test_others_get_their_turn(self):
        answers = []
        self.large(answers).join(60)
        self.assertEqual(answers, [202])
        self.assertTrue(self.ended[0].wait(5) or self.ended[1].wait(5), "who held the memory was shut out")

    def test_stop(self):
        answers = []
        waits = self.large(answers)
        time.sleep(1)
        self.assertEqual(answers, [], "it waits for the memory that the two hold")
        began = time.monotonic()
        self.assertEqual(self.gateway.stop(15), 0)
        self.assertLess(time.monotonic() - began, 10)
        waits.join(5)
        self.assertEqual(answers, [503])


if __name__ == "__main__":
    unittest.main()
