"""A strict SMTP sink in a thread: it takes mail only as RFC 5321 and 5322 write it, and remembers every mail that it
answered 250 to. What breaks a rule is remembered too (`violations`) and refused: a test asserts that there are none.

A mail counts as received from the moment before its final 250 is written: a reply lost on the way is the sender's
uncertainty, not the sink's.
"""
import email
import email.policy
import os
import re
import socket
import ssl
import threading
import time

ADDRESS = re.compile(rb"^<([^<>\s\x00-\x1f]*)>((?: [A-Za-z0-9-]+(?:=[^\s=]+)?)*)$")


class Mail:
    def __init__(self, sender, recipients, data, peer):
        self.sender, self.recipients, self.data, self.peer = sender, recipients, data, peer
        self.at = time.monotonic()

    def parsed(self):
        return email.message_from_bytes(self.data, policy=email.policy.default)


class Sink:
    """replies: {b"RCPT": [b"451 later", None, ...]}: one is used up per command, None or none left: the good reply.
    The keys: CONNECT EHLO MAIL RCPT DATA DOT QUIT. delay: seconds before every reply."""

    def __init__(self, delay=0.0, replies=None, tls=None, port=0, keep=True):
        self.delay, self.tls, self.keep = delay, tls, keep
        self.replies = {k: list(v) for k, v in (replies or {}).items()}
        self.mails, self.violations, self.connections, self.transactions = [], [], 0, 0
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", port), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.ids = {}  # Message-ID -> how often it was taken
        self.sessions = set()
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def close(self):
        self.listener.close()
        for session in list(self.sessions):
            try:
                session.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def accept(self):
        while True:
            try:
                connection, peer = self.listener.accept()
            except OSError:
                return
            with self.lock:
                self.connections += 1
            threading.Thread(target=self.session, args=(connection, peer), daemon=True).start()

    def next_reply(self, verb, good):
        with self.lock:
            queue = self.replies.get(verb)
            given = queue.pop(0) if queue else None
        return good if given is None else given

    def violation(self, text):
        with self.lock:
            self.violations.append(text)

    def session(self, connection, peer):
        self.sessions.add(connection)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            Session(self, connection, peer).run()
        except (OSError, EOFError, ssl.SSLError):
            pass
        finally:
            self.sessions.discard(connection)
            connection.close()


class Session:
    def __init__(self, sink, connection, peer):
        self.sink, self.connection, self.peer = sink, connection, peer
        self.buffer, self.sender, self.recipients, self.greeted = b"", None, [], False

    def line(self):
        while b"\n" not in self.buffer:
            if len(self.buffer) > 70000:
                self.sink.violation("a line of more than 70,000 bytes")
                raise EOFError
            more = self.connection.recv(65536)
            if not more:
                raise EOFError
            self.buffer += more
        line, self.buffer = self.buffer.split(b"\n", 1)
        if not line.endswith(b"\r") or b"\r" in line[:-1] or b"\0" in line:
            self.sink.violation(f"a bare CR, LF or NUL: {line[:80]!r}")
            raise EOFError
        return line[:-1]

    def reply(self, verb, good):
        text = self.sink.next_reply(verb, good)
        if self.sink.delay:
            time.sleep(self.sink.delay)
        if text == b"close":
            raise EOFError
        self.connection.sendall(text + b"\r\n")
        return text[:1]

    def run(self):
        if self.reply(b"CONNECT", b"220 sink.test ESMTP") != b"2":
            return
        while True:
            line = self.line()
            if len(line) > 510:
                self.sink.violation(f"a command of {len(line)} bytes")
            verb, _, rest = line.partition(b" ")
            method = getattr(self, "do_" + verb.decode("ascii", "replace").lower(), None)
            if method is None:
                self.sink.violation(f"unknown command {line[:80]!r}")
                self.reply(b"OTHER", b"500 what")
            elif method(rest):
                return

    def do_ehlo(self, rest):
        if not rest or b" " in rest:
            self.sink.violation(f"EHLO {rest!r}")
        self.greeted, self.sender, self.recipients = True, None, []
        text = b"250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n"
        if self.sink.tls and not isinstance(self.connection, ssl.SSLSocket):
            text += b"250-STARTTLS\r\n"
        self.reply(b"EHLO", text + b"250 SIZE 30000000")

    def do_starttls(self, rest):
        if self.buffer:
            self.sink.violation("bytes sent behind STARTTLS before its reply")
        self.reply(b"STARTTLS", b"220 go")
        self.connection = self.sink.tls.wrap_socket(self.connection, server_side=True)
        self.greeted = False

    def do_mail(self, rest):
        match = ADDRESS.match(rest[5:]) if rest[:5].upper() == b"FROM:" else None
        if not match or not self.greeted or self.sender is not None:
            self.sink.violation(f"MAIL {rest!r}")
            self.reply(b"OTHER", b"503 no")
        elif self.reply(b"MAIL", b"250 sender ok") == b"2":
            self.sender = match.group(1)
            self.sink.transactions += 1

    def do_rcpt(self, rest):
        match = ADDRESS.match(rest[3:]) if rest[:3].upper() == b"TO:" else None
        if not match or self.sender is None and not self.sink.replies:
            self.sink.violation(f"RCPT {rest!r}")
            self.reply(b"OTHER", b"503 no")
        elif self.sender is None:
            self.reply(b"OTHER", b"503 no MAIL")
        elif self.reply(b"RCPT", b"250 recipient ok") == b"2":
            self.recipients.append(match.group(1))

    def do_data(self, rest):
        if not self.recipients:
            self.reply(b"OTHER", b"554 no valid recipients")
            return
        if self.reply(b"DATA", b"354 go on") != b"3":
            return
        lines = []
        while True:
            line = self.line()
            if line == b".":
                break
            if len(line) > 999:
                self.sink.violation(f"a text line of {len(line)} bytes")
            lines.append(line[1:] if line.startswith(b".") else line)
        data = b"\r\n".join(lines) + b"\r\n"
        mail = Mail(self.sender, self.recipients, data, self.peer)
        self.sender, self.recipients = None, []
        text = self.sink.next_reply(b"DOT", None)
        if text is None or text[:1] == b"2":
            with self.sink.lock:
                id_ = mail.parsed()["Message-ID"] if self.sink.keep else header(data, b"Message-ID")
                self.sink.ids[id_] = self.sink.ids.get(id_, 0) + 1
                self.sink.mails.append(mail)
                number = len(self.sink.mails)
                if not self.sink.keep:
                    mail.data = data[:0]
                    mail.subject = header(data, b"Subject")
            text = text or b"250 2.0.0 Ok: queued as S%06X" % number
        if self.sink.delay:
            time.sleep(self.sink.delay)
        if text == b"close":
            raise EOFError
        self.connection.sendall(text + b"\r\n")

    def do_rset(self, rest):
        self.sender, self.recipients = None, []
        self.reply(b"RSET", b"250 ok")

    def do_noop(self, rest):
        self.reply(b"NOOP", b"250 ok")

    def do_quit(self, rest):
        self.reply(b"QUIT", b"221 bye")
        return True


def header(data, name):
    match = re.search(rb"^" + name + rb":[ \t]*(.*(?:\r\n[ \t].*)*)", data, re.MULTILINE | re.IGNORECASE)
    return re.sub(rb"\r\n[ \t]+", b" ", match.group(1)).strip().decode("utf-8", "replace") if match else None


def certificate(directory, name="localhost", days=30):
    """A CA and a server certificate made by openssl: (ca.pem, server.pem, server.key)."""
    import subprocess
    path = lambda f: os.path.join(directory, f)
    run = lambda *w: subprocess.run(["openssl", *w], check=True, capture_output=True)
    run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", path("ca.key"),
        "-out", path("ca.pem"), "-days", str(days), "-subj", "/CN=postern test CA", "-addext",
        "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", path("server.key"),
        "-out", path("server.csr"), "-subj", f"/CN={name}")
    with open(path("ext"), "w") as f:
        f.write(f"subjectAltName=DNS:{name}\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n")
    run("x509", "-req", "-in", path("server.csr"), "-CA", path("ca.pem"), "-CAkey", path("ca.key"),
        "-CAcreateserial", "-out", path("server.pem"), "-days", str(days), "-extfile", path("ext"))
    return path("ca.pem"), path("server.pem"), path("server.key")
