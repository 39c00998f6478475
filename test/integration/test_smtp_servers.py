"""Postfix, Exim, and a server that is lax about line ends: every AUTH mechanism that they have, and mails that would be
two at a server that reads the end of a mail where there is none.
"""
import base64
import contextlib
import email
import email.policy
import functools
import re
import socket
import threading
import time
import unittest

import exim
import postfix
from gateway import Gateway


def parse(raw):
    return email.message_from_bytes(raw, policy=email.policy.default)


def lines(raw):
    """Text with every line end as LF."""
    return raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


# What somewhere is taken for the end of a mail, and what a second mail would then begin with.
ENDS = [b"\n.\n", b"\r.\r", b"\n.\r\n", b"\r\n.\r", b"\r\n.\n", b"\r\n.\r\n", b"\r.\n", b"\n.\r", b"\n\n.\n\n", b"\r\n\r.\r\r\n",
        b"\r\n..\r\n", b"\n.\n.\n", b"\r\r\n.\r\r\n"]
BEHIND = [b"", b"MAIL FROM:<smuggler@example.com>\r\nRCPT TO:<user@example.com>\r\nDATA\r\nSubject: smuggled\r\n\r\nhi\r\n.\r\n"]


def smuggling_bodies():
    """name -> body. In the middle, at the start, at the end, and at every place of a buffer's border."""
    out = {}
    for n, end in enumerate(ENDS):
        for m, behind in enumerate(BEHIND):
            out[f"middle {n}.{m}"] = b"before" + end + behind + b"after\r\n"
            out[f"start {n}.{m}"] = end.lstrip(b"\r\n") + behind + b"after\r\n"
            out[f"end {n}.{m}"] = b"before" + end + behind
        # 97 is prime: over 97 lines each place of a buffer of 2^k bytes comes up, give or take one of the line's.
        out[f"borders {n}"] = b"".join(b"x" * (k % 97) + end for k in range(400))
    for m, behind in enumerate(BEHIND):
        out[f"dot {m}"] = b".\r\n" + behind
        out[f"dots {m}"] = b".\r\n.\r\n..\r\n" + behind
    return out


def composed(name, body):
    """A job whose text is the body."""
    return {"to": ["user@example.com"], "subject": name, "body_format": "TEXT", "body_content": body.decode()}


def finished(name, body):
    """A finished mail, which goes as it is but for its line ends: nothing around a dot is encoded."""
    mail = ("From: gateway@example.com\r\nTo: user@example.com\r\n"
            f"Subject: {name}\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n").encode() + body
    return {"to": ["user@example.com"], "raw": base64.b64encode(mail).decode()}


def text_of(raw):
    """The text of an arrived mail with LF, and an end of line at its end: that belongs to the line, not to the text."""
    text = lines(parse(raw).get_payload(decode=True))
    return text if text.endswith(b"\n") else text + b"\n"


class Smuggling:
    """One mail each, and unchanged, whatever a body has around its dots."""
    forms = (composed, finished)

    def send_all(self, gateway):
        """name -> the text that must arrive."""
        expected = {}
        for form in self.forms:
            for name, body in smuggling_bodies().items():
                name = f"{form.__name__} {name}"
                status, answer = gateway.api("POST", "/api/emails", form(name, body))
                self.assertEqual(status, 202, f"{name}: {answer}")
                # In a finished mail any run of CR before an LF is one end of line: what mangled it added those.
                text = lines(re.sub(rb"\r+\n", b"\n", body) if form is finished else body)
                expected[name] = text if text.endswith(b"\n") else text + b"\n"
        gateway.wait_drained()
        return expected

    def check_all(self, mails, expected):
        self.assertEqual(len(mails), len(expected), "a mail became two")
        arrived = {parse(raw)["Subject"]: text_of(raw) for raw in mails}
        self.assertEqual(set(arrived), set(expected))
        for name, text in arrived.items():
            self.assertEqual(text, expected[name], name)


class RealServer(Smuggling):
    """A server of its own for the class's tests, and gateways to it."""
    make = None

    @classmethod
    def setUpClass(cls):
        cls.server = cls.make().start()

    @classmethod
    def tearDownClass(cls):
        cls.server.close()

    def provider(self, **keys):
        return {"type": "smtp", "host": "localhost", "port": self.server.port, "tls": "starttls", "tls_ca": self.server.ca,
                "username": self.server.user, "password": self.server.password, "from": "gateway@example.com", **keys}

    def gateway(self, providers):
        g = Gateway({f"provider.{name}": keys for name, keys in providers.items()})
        self.addCleanup(g.close)
        return g.start()

    def test_smuggling(self):
        gateway = self.gateway({"default": self.provider()})
        expected = self.send_all(gateway)
        self.server.wait_mails("user", len(expected), 60)
        self.check_all(self.server.mails("user"), expected)
        self.assertNotIn("smuggler", self.server.log_text())


class Mechanisms(RealServer):
    """What the server of either family must do. method: what its log says of a login by that mechanism; failure: of one
    that failed."""
    method = failure = None

    def test_every_mechanism(self):
        words = self.server.mechanisms + ("auto",)
        gateway = self.gateway({word: self.provider(auth=word) for word in words})
        for word in words:
            log = len(self.server.log_text())
            text = f"by {word}\n.\nend\n"
            status, answer = gateway.api("POST", "/api/emails", {
                "provider_id": word, "to": ["cc@example.com"], "subject": f"auth {word}", "body_format": "TEXT",
                "body_content": text})
            self.assertEqual(status, 202, answer)
            job = gateway.wait_state(answer["id"])
            self.assertEqual(job["state"], "completed", f"{word}: {job}\n{gateway.log_text()}{self.server.log_text()[log:]}")
            self.assertRegex(self.server.log_text()[log:], self.method(word), word)
            self.assertNotIn("failed", self.server.log_text()[log:], word)
        self.server.wait_mails("cc", len(words))
        mails = {m["Subject"]: m for m in map(parse, self.server.mails("cc"))}
        for word in words:
            mail = mails[f"auth {word}"]
            self.assertEqual(lines(mail.get_content().encode()), f"by {word}\n.\nend\n".encode())
            self.assertEqual([a.addr_spec for a in mail["To"].addresses], ["cc@example.com"])
            self.assertEqual(mail.defects, [])

    def test_wrong_password_holds(self):
        words = self.server.mechanisms + ("auto",)
        gateway = self.gateway({word: self.provider(auth=word, password="mistaken-secret") for word in words})
        for word in words:
            log = len(self.server.log_text())
            id_ = gateway.api("POST", "/api/emails", {
                "provider_id": word, "to": ["cc@example.com"], "subject": "held", "body_format": "TEXT",
                "body_content": "x"})[1]["id"]
            job = self.wait_error(gateway, id_)
            self.assertEqual(job["state"], "pending", word)
            self.assertIn("535", job["error"], word)
            failures = {line for line in self.server.log_text()[log:].split("\n") if re.search(self.failure, line)}
            self.assertEqual(len(failures), 1, f"{word}: one attempt with one mechanism: {failures}")
        self.assertNotIn("mistaken-secret", gateway.log_text())
        shown = gateway.cli("show", str(id_)).stdout
        self.assertIn("535", shown)
        self.assertNotIn("mistaken-secret", shown)

    def wait_error(self, gateway, id_, seconds=30):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            job = gateway.api("GET", f"/api/emails/{id_}")[1]
            if job["error"]:
                return job
            time.sleep(0.05)
        raise AssertionError(f"nothing is said of {id_}: {job}\n{gateway.log_text()}")


@unittest.skipIf(postfix.missing(), postfix.missing())
class PostfixTest(Mechanisms, unittest.TestCase):
    make = postfix.Postfix
    failure = "SASL .* authentication failed"

    def method(self, word):
        return f"sasl_method={'SCRAM-SHA-256' if word == 'auto' else word.upper()}, sasl_username={self.server.user}"


@unittest.skipIf(exim.missing(), exim.missing())
class EximTest(Mechanisms, unittest.TestCase):
    make = exim.Exim
    failure = "authenticator failed"

    def method(self, word):
        driver = {"auto": "plain", "cram-md5": "cram"}.get(word, word)
        return rf"<= gateway@example.com .* P=esmtpsa .*A={driver}:{self.server.user}"

    def test_chunking(self):
        """What Exim says of a mail that came by BDAT: K."""
        gateway = self.gateway({"default": self.provider()})
        log = len(self.server.log_text())
        jobs = [{"to": ["bcc@example.com"], "subject": f"chunk {n}", "body_format": "TEXT",
                 "body_content": "line\n.\n" * (n * n * 20) + "end\n"} for n in range(10)]
        self.assertEqual(gateway.api("POST", "/api/emails", jobs)[0], 202)
        gateway.wait_drained()
        self.server.wait_mails("bcc", len(jobs))
        received = [line for line in self.server.log_text()[log:].split("\n") if " <= gateway@example.com " in line]
        self.assertEqual(len(received), len(jobs))
        for line in received:
            self.assertRegex(line, r" P=esmtpsa .* K ")
        mails = {m["Subject"]: m for m in map(parse, self.server.mails("bcc"))}
        for job in jobs:
            self.assertEqual(lines(mails[job["subject"]].get_payload(decode=True)), job["body_content"].encode())


@unittest.skipIf(postfix.missing(), postfix.missing())
class PostfixByDataTest(RealServer, unittest.TestCase):
    make = functools.partial(postfix.Postfix, chunking=False)


@unittest.skipIf(exim.missing(), exim.missing())
class EximByDataTest(RealServer, unittest.TestCase):
    make = functools.partial(exim.Exim, chunking=False)


class Lax:
    """Takes every line end for one, so every dot between two of them ends a mail; what follows is commands."""
    END = re.compile(rb"(?:\r\n|\n|\r)\.(?:\r\n|\n|\r)")
    LINE = re.compile(rb"\r\n|\n|\r")

    def __init__(self):
        self.mails, self.senders = [], []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection, contextlib.suppress(ConnectionError):
            self.session(connection)

    def session(self, connection):
        buffer, data = b"", False
        connection.sendall(b"220 lax\r\n")
        while True:
            match = (self.END if data else self.LINE).search(buffer)
            # A CR at the end may be half of a line end: the rest is on its way.
            if match is None or match.end() == len(buffer) and buffer.endswith(b"\r"):
                more = connection.recv(65536)
                if not more:
                    return
                buffer += more
                continue
            found, buffer = buffer[:match.start()], buffer[match.end():]
            if data:
                found += b"\r\n"  # it ends the last line too
                self.mails.append(re.sub(rb"(?<=[\r\n])\.", b"", found[2:]))
                data, answer = False, b"250 taken"
            elif found[:4].upper() == b"DATA":
                data, answer, buffer = True, b"354 go", b"\r\n" + buffer
            else:
                if found[:4].upper() == b"MAIL":
                    self.senders.append(found)
                answer = b"250-lax\r\n250 PIPELINING" if found[:4].upper() == b"EHLO" else b"250 fine"
            connection.sendall(answer + b"\r\n")

    def close(self):
        self.listener.close()


class LaxTest(Smuggling, unittest.TestCase):
    def test_smuggling(self):
        server = Lax()
        self.addCleanup(server.close)
        gateway = Gateway({"provider.default": {"type": "smtp", "host": "127.0.0.1", "port": server.port, "tls": "none",
                                                "from": "gateway@example.com"}})
        self.addCleanup(gateway.close)
        gateway.start()
        expected = self.send_all(gateway)
        self.check_all(server.mails, expected)
        self.assertEqual({s.split(b">")[0] for s in server.senders}, {b"MAIL FROM:<gateway@example.com"})

    def test_the_server_is_lax(self):
        """What this file asserts, it could see: the same bytes sent as they are do become several mails."""
        server = Lax()
        self.addCleanup(server.close)
        body = b"before\n.\nMAIL FROM:<smuggler@example.com>\r\nDATA\r\nsmuggled\r.\rafter"
        with socket.create_connection(("127.0.0.1", server.port)) as s:
            s.sendall(b"EHLO x\r\nMAIL FROM:<a@b>\r\nDATA\r\n" + body + b"\r\n.\r\nQUIT\r\n")
            said = b""
            while said.count(b"250 taken") < 2:
                more = s.recv(65536)
                self.assertTrue(more, said)
                said += more
        self.assertEqual(server.mails, [b"before\r\n", b"smuggled\r\n"])
        self.assertEqual(len(server.senders), 2)


if __name__ == "__main__":
    unittest.main()
