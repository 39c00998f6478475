"""Finished messages: over HTTP, as raw, and by `sendmail` as cron, smartd and scripts call it; through a real gateway to
a real Postfix, a strict sink, or the drop directory."""
import base64
import email.message
import email.policy
import email.utils
import json
import os
import pwd
import re
import shutil
import socket
import subprocess
import unittest

import postfix
from gateway import Gateway, command
from sink import Sink

HEAD = ("From: Ann <ann@example.com>\r\nTo: user@example.com\r\nSubject: test\r\nMessage-ID: <own@example.com>\r\n"
        "Date: Fri, 19 Sep 2025 10:30:05 +0200\r\n")


def maildir():
    return {"provider.default": {"type": "maildir", "path": "mail", "from": "gw@example.com"}}


def smtp(sink, **keys):
    return {"type": "smtp", "host": "127.0.0.1", "port": sink.port, "tls": "none", **keys}


class MessageTest(unittest.TestCase):
    def gateway(self, ini, start=True):
        g = Gateway(ini)
        self.addCleanup(g.close)
        return g.start() if start else g

    def sink(self, **words):
        s = Sink(**words)
        self.addCleanup(s.close)
        return s

    def sendmail(self, g, *words, stdin="", code=0, **more):
        """`postern sendmail` with these words; its exit code is asserted."""
        data = stdin if isinstance(stdin, bytes) else stdin.encode()
        done = subprocess.run(g.command + ["-c", g.file, "sendmail", *words], input=data, capture_output=True,
                              timeout=60, env=g.env, **more)
        self.assertEqual(done.returncode, code, (words, done.stdout, done.stderr, g.log_text(3000)))
        return (done.stdout + done.stderr).decode()

    def post(self, g, message, fields=(), type_="message/rfc822"):
        """(status, answer) of POST /api/emails; fields may repeat."""
        connection = g.connection()
        self.addCleanup(connection.close)
        connection.putrequest("POST", "/api/emails")
        for name, value in (("Content-Type", type_), ("Content-Length", str(len(message))), *fields):
            connection.putheader(name, value)
        connection.endheaders(message)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    def sent(self, g, sink, count=1):
        g.wait_drained()
        self.assertEqual(len(sink.mails), count, (g.api("GET", "/api/emails")[1], g.log_text(3000)))
        self.assertEqual(sink.violations, [])
        return sink.mails[count - 1]


class SendmailTest(MessageTest):
    def test_as_cron_calls_it(self):
        sink = self.sink()
        g = self.gateway({"provider.default": smtp(sink, **{"from": "gw@example.com"}),
                          "alias": {"root": "Ops <ops@example.com>"}})
        message = ("From: root (Cron Daemon)\nTo: root\nSubject: Cron <root@host> job\nMIME-Version: 1.0\n"
                   "Content-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: 8bit\nX-Cron-Env: <SHELL=/bin/sh>"
                   "\n\nfünf Zeilen\n.\nlang: " + "ö" * 700 + "\n")
        out = self.sendmail(g, "-i", "-FCronDaemon", "-B8BITMIME", "-oem", "root", stdin=message)
        self.assertEqual(out, "", "cron would mail what is printed")
        mail = self.sent(g, sink)
        self.assertEqual([r.decode() for r in mail.recipients], ["ops@example.com"])
        user = pwd.getpwuid(os.getuid()).pw_name
        parsed = mail.parsed()
        wanted = "ops@example.com" if user == "root" else "gw@example.com"
        self.assertEqual(parsed["From"].addresses[0].addr_spec, wanted)
        self.assertEqual(mail.sender.decode(), wanted)
        self.assertEqual(parsed["Subject"], "Cron <root@host> job")
        self.assertEqual(parsed["To"], "root")
        self.assertTrue(parsed["Message-ID"] and email.utils.parsedate_to_datetime(parsed["Date"]))
        body = mail.data.split(b"\r\n\r\n", 1)[1].decode()
        self.assertEqual(body.replace("\r\n ", "").replace("\r\n", "\n"), message.split("\n\n", 1)[1])
        self.assertLessEqual(max(map(len, mail.data.split(b"\r\n"))), 998)

    def test_recipients(self):
        sink = self.sink()
        g = self.gateway({"provider.default": smtp(sink), "alias": {"ops": "ops@example.com"}})
        head = ('From: a@example.com\nTo: "X, Y" <x@example.com>, Team: t@example.com,u@example.com;\n'
                "Cc: c@example.com\n (comment)\nBcc: secret@example.com,\n other@example.com\nSubject: s\n\nbody\n")
        everyone = ["x", "t", "u", "c", "secret", "other"]
        for count, (words, wanted) in enumerate(((("-t",), everyone), (("-ti", "ops"), ["ops", *everyone]),
                                                 (("a@example.com,b@example.com", "ops"), ["a", "b", "ops"]),
                                                 (("--", "a@example.com"), ["a"])), 1):
            with self.subTest(words=words):
                self.sendmail(g, *words, stdin=head)
                mail = self.sent(g, sink, count)
                self.assertEqual([r.decode() for r in mail.recipients], [f"{w}@example.com" for w in wanted])
                self.assertNotIn(b"secret", mail.data)
                self.assertNotIn(b"other", mail.data)
                self.assertEqual(mail.parsed()["Cc"].addresses[0].addr_spec, "c@example.com")
                self.assertEqual(mail.sender, b"a@example.com")

    def test_sender(self):
        sink = self.sink()
        g = self.gateway({"gateway": {"name": "device.example"}, "provider.default": smtp(sink)})
        user = pwd.getpwuid(os.getuid()).pw_name
        self.sendmail(g, "user@example.com", stdin="Subject: none\n\nx\n")
        mail = self.sent(g, sink)
        self.assertEqual((mail.sender.decode(), mail.parsed()["From"]), (f"{user}@device.example",) * 2)
        self.sendmail(g, "-f", "bounce@example.com", "-F", 'A "B", C', "user@example.com", stdin="Subject: f\n\nx\n")
        mail = self.sent(g, sink, 2)
        self.assertEqual(mail.sender, b"bounce@example.com")
        self.assertEqual(mail.parsed()["From"].addresses[0].display_name, 'A "B", C')
        self.sendmail(g, "-fbounce@example.com", "user@example.com", stdin="From: a@example.com\n\nx\n")
        mail = self.sent(g, sink, 3)
        self.assertEqual((mail.sender, mail.parsed()["From"]), (b"bounce@example.com", "a@example.com"))
        self.sendmail(g, "-f", "<>", "user@example.com", stdin="From: a@example.com\n\nx\n")
        self.assertEqual(self.sent(g, sink, 4).sender, b"")
        self.sendmail(g, "user@example.com", stdin="echo without a header\n")
        mail = self.sent(g, sink, 5)
        self.assertTrue(mail.data.endswith(b"\r\n\r\necho without a header\r\n"), mail.data)

    def test_end_of_the_message(self):
        sink = self.sink()
        g = self.gateway({"provider.default": smtp(sink)})
        text = "From: a@example.com\n\none\n.\ntwo\n"
        for count, (word, body) in enumerate((("-i", b"one\r\n.\r\ntwo\r\n"), ("-oi", b"one\r\n.\r\ntwo\r\n"),
                                              ("-odi", b"one\r\n")), 1):
            self.sendmail(g, word, "user@example.com", stdin=text)
            self.assertEqual(self.sent(g, sink, count).data.split(b"\r\n\r\n", 1)[1], body)

    def test_exit_codes(self):
        g = self.gateway(maildir())
        good = "From: a@example.com\nTo: b@example.com\n\nx\n"
        for code, words, stdin, said in (
                (64, (), good, "no recipient"), (64, ("-Z", "a@example.com"), good, "unknown option -Z"),
                (65, ("-t",), "From: a@example.com\n\nx\n", "no recipient"), (65, ("nobody",), good, "/to/0"),
                (65, ("a@b@c",), good, "/to/0"),
                (65, ("-f", "bad address", "a@example.com"), good, "bad address"),
                (65, ("-f", "bad @address", "a@example.com"), good, "/envelope_from"), (65, ("-t",), "From: a@b@c\nTo: d@example.com\n\nx", "/raw"),
                (65, ("a@example.com",), b"From: a@example.com\n\n\0", "NUL"),
                (65, ("a@example.com",), b"From: a@example.com\nSubject: \xe4\n\n", "UTF-8"),
                (65, ("a@example.com",), good + "x\n" * 400000, "larger"),
                (69, ("-bs",), "", "-bs"), (69, ("-bp",), "", "postern list"), (69, ("-bd",), "", "postern run"),
                (0, ("-q",), "", ""), (78, ("-C", "/nonexistent", "-t"), good, "/nonexistent")):
            out = self.sendmail(g, *words, stdin=stdin, code=code)
            self.assertIn(said, out, words)
        self.assertEqual(g.api("GET", "/api/emails")[1]["items"], [], "nothing refused is stored")
        self.assertRegex(self.sendmail(g, "-v", "-t", stdin=good), r"^accepted as job \d+\n$")

    def test_busy_gateway_is_tempfail(self):
        g = self.gateway(maildir(), start=False)
        os.makedirs(g.data, mode=0o700)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(g.socket_path())
            listener.listen()
            listener.settimeout(30)
            waits = subprocess.Popen(g.command + ["-c", g.file, "sendmail", "a@example.com"], stdin=subprocess.PIPE,
                                     stderr=subprocess.PIPE)
            self.addCleanup(waits.kill)
            waits.stdin.write(b"From: a@example.com\n\nx\n")
            waits.stdin.close()
            waits.stdin = None
            peer = listener.accept()[0]
            peer.recv(65536)
            body = b'{"success":false,"error":"the store is full"}'
            peer.sendall(b"HTTP/1.1 507 Full\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            peer.close()
            self.assertIn(b"full", waits.communicate(timeout=30)[1])
            self.assertEqual(waits.returncode, 75)

    def test_drop_directory(self):
        sink = self.sink()
        g = self.gateway({"provider.default": smtp(sink), "alias": {"root": "root@example.com"}}, start=False)
        os.makedirs(g.data, mode=0o700)
        self.assertEqual(self.sendmail(g, "root", stdin="From: a@example.com\nSubject: early\n\nx\n"), "")
        self.sendmail(g, "-t", stdin="From: a@example.com\nTo: later@example.com\n\nx\n")
        self.sendmail(g, "a@b@c", stdin="From: a@example.com\n\nx\n", code=65)
        g.start()
        self.sent(g, sink, 2)
        self.assertEqual({r for m in sink.mails for r in m.recipients}, {b"root@example.com", b"later@example.com"})

    @unittest.skipIf(os.path.exists("/etc/postern/postern.ini"), "this device has a configuration")
    def test_no_configuration(self):
        """A drop directory below the caller's working directory is one that no gateway looks into."""
        g = self.gateway(maildir(), start=False)
        done = subprocess.run([*g.command, "sendmail", "-ti"], capture_output=True, timeout=60, cwd=g.dir,
                              input=b"From: a@example.com\nTo: b@example.com\n\nx\n")
        self.assertEqual(done.returncode, 78, done.stderr)
        self.assertIn(b"/etc/postern/postern.ini", done.stderr)
        self.assertFalse(os.path.exists(os.path.join(g.dir, "postern-data")))

    def test_judged_before_it_is_dropped(self):
        g = self.gateway(maildir(), start=False)
        os.makedirs(g.data, mode=0o700)
        self.assertIn("no alias: nobody-here",
                      self.sendmail(g, "nobody-here", stdin="From: a@example.com\n\nx\n", code=65))

    def test_link_of_that_name(self):
        sink = self.sink()
        g = self.gateway({"provider.default": smtp(sink)})
        link = os.path.join(g.dir, "sendmail")
        os.symlink(os.path.abspath(shutil.which(g.command[-1]) or g.command[-1]), link)
        done = subprocess.run(g.command[:-1] + [link, "-C", g.file, "-ti"], capture_output=True, timeout=60,
                              input=b"From: a@example.com\nTo: b@example.com\n\nx\n")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.sent(g, sink)

    @unittest.skipIf(len(command()) > 1, "not under an emulator")
    @unittest.skipIf(os.geteuid() != 0, "needs root to become another user")
    def test_other_users(self):
        sink = self.sink()
        g = self.gateway(maildir(), start=False)
        secret = os.path.join(g.dir, "secret")
        with open(secret, "w") as f:
            f.write("pw\n")
        os.chmod(secret, 0o600)
        g.write({"provider.default": smtp(sink, **{"from": "gw@example.com"}), "api": {"submit_socket_mode": "0666"},
                 "mailbox.m": {"host": "127.0.0.1", "username": "u", "password_file": secret, "user_id": "u"}})
        g.start()
        os.chmod(g.dir, 0o711)
        os.chmod(g.file, 0o644)
        g.command = [os.path.join(g.dir, "postern")]
        shutil.copy(command()[-1], g.command[0])
        os.chmod(g.command[0], 0o755)
        other = {"user": 65534, "group": 65534, "extra_groups": [], "cwd": "/"}
        self.sendmail(g, "user@example.com", stdin="Subject: x\n\nx\n", **other)
        self.assertEqual(self.sent(g, sink).parsed()["From"], "gw@example.com")
        g.stop()
        self.assertIn("no gateway runs", self.sendmail(g, "user@example.com", stdin="Subject: x\n\nx\n", code=75, **other))
        os.chmod(g.file, 0o600)
        self.sendmail(g, "user@example.com", stdin="Subject: x\n\nx\n", code=78, **other)


class HttpTest(MessageTest):
    def test_envelope_fields(self):
        sink = self.sink()
        g = self.gateway({"provider.default": smtp(sink)})
        message = (HEAD + "Bcc: b@example.com\r\nReturn-Path: <x@example.com>\r\n\r\nbody\r\n").encode()
        status, answer = self.post(g, message)
        self.assertEqual(status, 202, answer)
        mail = self.sent(g, sink)
        self.assertEqual((mail.sender, mail.recipients), (b"ann@example.com", [b"user@example.com", b"b@example.com"]))
        self.assertEqual(mail.data, HEAD.encode() + b"\r\nbody\r\n")
        status, answer = self.post(g, message, (("X-Envelope-From", "<>"), ("X-Envelope-To", "c@example.com, d@example.com"),
                                                ("X-Envelope-To", "e@example.com"), ("X-Message-Id", "m-1")))
        self.assertEqual((status, answer["message_id"]), (202, "m-1"))
        mail = self.sent(g, sink, 2)
        self.assertEqual((mail.sender, mail.recipients), (b"", [b"c@example.com", b"d@example.com", b"e@example.com"]))
        self.assertEqual(mail.data, HEAD.encode() + b"\r\nbody\r\n")
        self.assertEqual(self.post(g, b"hello")[0], 400)
        self.assertEqual(self.post(g, message, (("X-Envelope-To", "nobody@"),))[1]["pointer"], "/to/0")
        self.assertEqual(self.post(g, message, type_="text/plain")[0], 415)

    def test_sizes(self):
        sink = self.sink()
        g = self.gateway({"provider.default": smtp(sink)})
        for count, size in enumerate((2000, 20000, 60000, 200000, 780000), 1):
            body = b"".join(b"%070d\r\n" % i for i in range(size // 72))
            self.assertEqual(self.post(g, HEAD.encode() + b"\r\n" + body)[0], 202)
            self.assertEqual(self.sent(g, sink, count).data, HEAD.encode() + b"\r\n" + body)
        status, answer = self.post(g, HEAD.encode() + b"\r\n" + b"x\r\n" * 300000)
        self.assertEqual(status, 413, answer)

    def test_raw_in_json(self):
        """As PHP writes it (slashes escaped), beside other members, larger than a worker's memory, and to a Maildir."""
        sink = self.sink()
        g = self.gateway({"provider.default": smtp(sink), **{"provider.dir": {"type": "maildir", "path": "mail"}}})
        message = HEAD.encode() + b"\r\n" + bytes(range(32, 127)) * 9 + b"\r\n" + b"\xff\xfe?>?\r\n" * 12000
        for count, text in enumerate((json.dumps({"raw": base64.b64encode(message).decode(), "to": ["a@example.com"]}),
                                      json.dumps({"raw": base64.b64encode(message).decode()}).replace("/", "\\/")), 1):
            status, answer = g.api("POST", "/api/emails", text)
            self.assertEqual(status, 202, answer)
            self.assertEqual(self.sent(g, sink, count).data, message)
        status, answer = g.api("POST", "/api/emails", json.dumps({"raw": base64.b64encode(message).decode(),
                                                                  "provider_id": "dir"}))
        self.assertEqual(g.wait_state(answer["id"])["state"], "completed")
        folder = os.path.join(g.data, "mail", "new")
        with open(os.path.join(folder, os.listdir(folder)[0]), "rb") as f:
            self.assertTrue(f.read().endswith(message.replace(b"\r\n", b"\n")))


@unittest.skipIf(postfix.missing(), postfix.missing())
class PostfixTest(MessageTest):
    @classmethod
    def setUpClass(cls):
        cls.server = postfix.Postfix().start()

    @classmethod
    def tearDownClass(cls):
        cls.server.close()

    def office(self):
        return self.gateway({"provider.office": {
            "type": "smtp", "host": "localhost", "port": self.server.port, "tls": "starttls", "tls_ca": self.server.ca,
            "username": self.server.user, "password": self.server.password, "from": "gateway@example.com"}})

    def delivered(self, marker):
        """The one mail with these bytes, from its first own field on (Postfix writes its own in front)."""
        mine = [m for m in self.server.mails("user") if marker in m]
        self.assertEqual(len(mine), 1)
        return re.sub(rb"\A(?:(?:Return-Path|X-Original-To|Delivered-To|Received):[^\n]*\n(?:[ \t][^\n]*\n)*)+", b"",
                      mine[0])

    def signed(self):
        """A multipart/signed message with an attachment."""
        cert, key = self.server.path("server.pem"), self.server.path("server.key")
        inner = email.message.EmailMessage(policy=email.policy.SMTP)
        inner.set_content("Grüße\n\n-- \nAnn\n", cte="quoted-printable")
        inner.add_attachment(bytes(range(256)) * 20, maintype="application", subtype="octet-stream", filename="ü.bin")
        done = subprocess.run(["openssl", "smime", "-sign", "-signer", cert, "-inkey", key, "-md", "sha256"],
                              input=inner.as_bytes(), capture_output=True, check=True)
        return done.stdout

    def test_signed_multipart_is_the_same_byte_for_byte(self):
        signed = self.signed()
        for n, (way, ends) in enumerate(((way, ends) for way in ("http", "sendmail") for ends in (b"\n", b"\r\n", b"\r"))):
            with self.subTest(way=way, ends=ends):
                own = f"<signed-{n}@example.com>".encode()
                message = HEAD.replace("\r\n", "\n").encode().replace(b"<own@example.com>", own)
                message += signed.replace(b"\r\n", b"\n")
                g = self.office()
                if way == "http":
                    status, answer = self.post(g, message.replace(b"\n", ends))
                    self.assertEqual(status, 202, answer)
                else:
                    self.sendmail(g, "-ti", stdin=message.replace(b"\n", ends))
                g.wait_drained()
                self.assertEqual(g.api("GET", "/api/emails")[1]["items"][0]["state"], "completed", g.log_text(3000))
                self.server.wait_mails("user", n + 1)
                got = self.delivered(own)
                self.assertEqual(got, message)
                check = subprocess.run(["openssl", "smime", "-verify", "-noverify"], input=got.replace(b"\n", b"\r\n"),
                                       capture_output=True)
                self.assertEqual(check.returncode, 0, check.stderr)
                g.close()

    def test_eight_bit_and_utf8_header(self):
        g = self.office()
        before = len(self.server.mails("user"))
        for n, (head, body) in enumerate(((b"", b"8 bit: \xc3\xa4 \xe4\xf6\n"), ("X-Note: Grüße\n".encode(), b"ascii\n"))):
            own = b"<bits-%d@example.com>" % n
            message = HEAD.replace("\r\n", "\n").encode().replace(b"<own@example.com>", own) + head + b"\n" + body
            self.sendmail(g, "-i", "user@example.com", stdin=message)
            g.wait_drained()
            self.server.wait_mails("user", before + n + 1)
            self.assertEqual(self.delivered(own), message)


if __name__ == "__main__":
    unittest.main()
