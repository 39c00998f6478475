"""The benchmark's own parts: what its sink counts and when it answers, and that every sender's mails arrive once."""
import os
import socket
import subprocess
import sys
import time
import unittest

from gateway import TREE

BENCH = os.path.join(TREE, "test", "bench")
sys.path.insert(0, BENCH)
import measure  # noqa: E402


def setUpModule():
    subprocess.run(["make", "-s", "-C", TREE, "bench-programs"], check=True, stdout=subprocess.DEVNULL)


class Client:
    """A connection to the sink that has said EHLO."""

    def __init__(self, sink):
        self.socket = socket.create_connection(("127.0.0.1", sink.port), 10)
        self.file = self.socket.makefile("rb")
        sink.greet()
        self.codes(1)
        self.send(b"EHLO test.example.com\r\n")
        self.offers = []
        while not self.offers or self.offers[-1][3:4] == b"-":
            self.offers.append(self.file.readline())

    def send(self, data):
        self.socket.sendall(data)

    def codes(self, count):
        return [int(self.file.readline()[:3]) for _ in range(count)]

    def close(self):
        self.file.close()
        self.socket.close()


class Sink(measure.Sink):
    greets = False

    def greet(self):
        if not self.greets:
            self.go()
        self.greets = True


MAIL = b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\n"


def content(number):
    return b"Message-ID: <%d@example.com>\r\n\r\nhello\r\n" % number


def chunk(data, last=True):
    return b"BDAT %d%s\r\n%s" % (len(data), b" LAST" if last else b"", data)


class SinkTest(unittest.TestCase):
    def sink(self, **words):
        sink = Sink(words.pop("count", 1000), **words)
        self.addCleanup(sink.close)
        return sink

    def client(self, sink):
        client = Client(sink)
        self.addCleanup(client.close)
        return client

    def test_counts_mails_by_data_and_bdat(self):
        sink = self.sink()
        client = self.client(sink)
        self.assertIn(b"250-CHUNKING\r\n", client.offers)
        client.send(MAIL + b"DATA\r\n")
        self.assertEqual(client.codes(3), [250, 250, 354])
        client.send(content(1) + b"..dot\r\n.\r\n" + MAIL + chunk(content(2)[:20], False) + chunk(content(2)[20:]))
        self.assertEqual(client.codes(5), [250, 250, 250, 250, 250])
        stats = sink.stats()
        self.assertEqual(stats["violations"], {})
        self.assertEqual((stats["mails"], stats["distinct"], stats["doubled"], stats["chunks"]), (2, 2, 0, 2))
        self.assertEqual(stats["bytes"], len(content(1)) + len(b".dot\r\n") + len(content(2)))

    def test_discards_a_chunk_that_it_refuses(self):
        sink = self.sink()
        client = self.client(sink)
        client.send(chunk(b"QUIT\r\n", False) + b"RSET\r\n" + MAIL + chunk(content(1)))
        self.assertEqual(client.codes(5), [503, 250, 250, 250, 250])
        stats = sink.stats()
        self.assertEqual((stats["mails"], stats["refused_chunks"], stats["bytes"]), (1, 1, len(content(1))))
        self.assertEqual(stats["violations"], {})

    def test_a_mail_cut_at_any_byte_is_the_same_mail(self):
        sink = self.sink()
        client = self.client(sink)
        whole = content(1) + b"\r\n..\r\n.x\r\n"
        client.send(MAIL + b"DATA\r\n")
        client.codes(3)
        for n in range(len(whole)):
            client.send(whole[n:n + 1])
            time.sleep(0.001)
        client.send(b".\r")
        time.sleep(0.01)
        client.send(b"\n")
        self.assertEqual(client.codes(1), [250])
        stats = sink.stats()
        self.assertEqual((stats["mails"], stats["distinct"], stats["bytes"]), (1, 1, len(whole) - 2))
        self.assertEqual(stats["violations"], {})

    def test_sees_a_mail_that_comes_twice(self):
        sink = self.sink()
        client = self.client(sink)
        for _ in range(3):
            client.send(MAIL + chunk(content(7)))
        self.assertEqual(client.codes(9), [250] * 9)
        stats = sink.stats()
        self.assertEqual((stats["mails"], stats["distinct"], stats["doubled"], stats["most_of_one"]), (3, 1, 2, 3))

    def test_counts_what_breaks_a_rule(self):
        for name, offer, data in (
                ("bare_lf", measure.ALL_OFFERS, MAIL + chunk(content(1) + b"a\nb\r\n")),
                ("bare_cr", measure.ALL_OFFERS, MAIL + chunk(content(1) + b"a\rb\r\n")),
                ("long_line", measure.ALL_OFFERS, MAIL + chunk(content(1) + b"x" * 999 + b"\r\n")),
                ("no_message_id", measure.ALL_OFFERS, MAIL + chunk(b"Subject: x\r\n\r\nMessage-ID: <1@x>\r\n")),
                ("bad_order", measure.ALL_OFFERS, b"RCPT TO:<b@example.com>\r\n"),
                ("not_offered", "PIPELINING", b"MAIL FROM:<a@example.com> BODY=8BITMIME\r\n"),
                ("not_offered", "PIPELINING", b"BDAT 10 LAST\r\n"),
                ("not_pipelined", "CHUNKING", b"NOOP\r\nNOOP\r\n"),
                ("early_content", measure.ALL_OFFERS, MAIL + b"DATA\r\n" + content(1) + b".\r\n")):
            with self.subTest(name):
                sink = self.sink(offer=offer)
                client = self.client(sink)
                client.send(data)
                client.codes(1)
                client.send(b"QUIT\r\n")
                client.file.read()
                self.assertIn(name, sink.stats()["violations"])

    def test_delay_is_a_round_trip_not_a_working_time(self):
        sink = self.sink(delay_ms=1000)
        client = self.client(sink)
        before = sink.stats()
        client.send(b"NOOP\r\n" * 50)
        now = sink.stats()
        while now["commands"] < before["commands"] + 50:
            now = sink.stats()
        self.assertEqual(now["writes"], before["writes"], "read, and nothing answered yet")
        self.assertEqual(client.codes(50), [250] * 50)
        self.assertLess(sink.stats()["writes"], before["writes"] + 50, "answered together")
        client.send(b"NOOP\r\n")
        self.assertEqual(client.codes(1), [250])
        self.assertEqual(sink.stats()["trips"], before["trips"] + 2)

    def test_says_when_all_are_there(self):
        sink = self.sink(count=2)
        client = self.client(sink)
        client.send(MAIL + chunk(content(1)) + MAIL + chunk(content(2)))
        self.assertEqual(client.codes(6), [250] * 6)
        sink.wait_all(10)
        self.assertEqual(sink.stats()["all"], sink.stats()["last"])


class SmokeTest(unittest.TestCase):
    def test_every_mail_arrives_once(self):
        done = subprocess.run([sys.executable, os.path.join(BENCH, "bench.py"), "--smoke"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertRegex(done.stdout, r"ok: \d+ drains, every mail arrived once")


if __name__ == "__main__":
    unittest.main()
