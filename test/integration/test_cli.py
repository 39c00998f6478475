"""The command line beside a real gateway: exit codes, the drop directory, sockets, reload, requeue, cancel."""
import json
import os
import pty
import signal
import socket
import sqlite3
import stat
import subprocess
import threading
import time
import unittest

from gateway import Gateway
from sink import Sink

JOB = {"to": ["user@example.com"], "subject": "s", "body_format": "TEXT", "body_content": "x"}


def smtp(sink, **keys):
    return {"type": "smtp", "host": "127.0.0.1", "port": sink.port, "tls": "none", "from": "gw@example.com", **keys}


class CliTest(unittest.TestCase):
    def gateway(self, ini, start=True, **words):
        g = Gateway(ini, **words)
        self.addCleanup(g.close)
        return g.start() if start else g

    def sink(self, **words):
        s = Sink(**words)
        self.addCleanup(s.close)
        return s

    def test_send_by_flags_and_status(self):
        sink = self.sink()
        g = self.gateway({"provider.default": smtp(sink)})
        done = g.cli("send", "--to", "user@example.com", "--subject", "Grüße", "--text", "hallo", "--wait")
        self.assertEqual(done.returncode, 0, done.stderr)
        id_ = done.stdout.split()[0]
        mail = sink.mails[0].parsed()
        self.assertEqual((mail["Subject"], mail.get_content()), ("Grüße", "hallo\r\n"))
        self.assertEqual(sink.mails[0].sender, b"gw@example.com")
        for words in (("status",), ("list",), ("show", id_), ("version", "--deps"), ("selftest",), ("check",)):
            done = g.cli(*words)
            self.assertEqual(done.returncode, 0, f"{words}: {done.stdout}{done.stderr}")
            self.assertTrue(done.stdout.strip() or words == ("check",))
        for words in (("status", "--json"), ("list", "--json"), ("show", id_, "--json"),
                      ("list", "--state", "completed", "--limit", "5", "--json")):
            json.loads(g.cli(*words).stdout)
        self.assertEqual(json.loads(g.cli("list", "--json").stdout)["items"][0]["state"], "completed")
        self.assertIn("250", g.cli("show", id_).stdout)

    def test_exit_codes(self):
        sink = self.sink()
        g = self.gateway({"provider.default": smtp(sink)})
        for code, words, stdin in ((2, ("nonsense",), None), (2, ("send", "--nonsense"), None), (2, (), None),
                                   (1, ("show", "424242"), None), (1, ("cancel", "424242"), None),
                                   (1, ("send", "-"), "{}"), (1, ("send", "-"), "not json"),
                                   (1, ("send", "-"), json.dumps({**JOB, "to": ["a\r\nRCPT TO:<b@c.d>"]})),
                                   (2, ("list", "--state", "lost"), None)):
            done = g.cli(*words, stdin=stdin)
            self.assertEqual(done.returncode, code, f"{words} {stdin}: {done.stdout}{done.stderr}")
            self.assertTrue(done.stderr.startswith("postern: ") or code == 2, done.stderr)
        self.assertIn("/to/0", g.cli("send", "-", stdin=json.dumps({**JOB, "to": ["no address"]})).stderr)
        self.assertEqual(json.loads(g.cli("list", "--json").stdout)["items"], [], "nothing refused is stored")
        g.stop()
        self.assertEqual(g.cli("status").returncode, 3)
        self.assertEqual(g.cli("list").returncode, 3)

    def test_wait_over_a_restart(self):
        sink = self.sink()
        g = self.gateway({"provider.default": {"type": "smtp", "host": "127.0.0.1", "port": 1, "tls": "none",
                                               "from": "gw@example.com"}})
        waits = subprocess.Popen(g.command + ["-c", g.file, "send", "--to", "user@example.com", "--text", "x", "--wait"],
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(waits.kill)
        self.assertRegex(waits.stdout.readline(), r"^\d+\n$")
        self.assertEqual(g.stop(), 0)
        time.sleep(1)
        self.assertIsNone(waits.poll(), "it goes on waiting")
        g.write({"provider.default": smtp(sink)})
        g.start()
        out, err = waits.communicate(timeout=60)
        self.assertEqual((waits.returncode, out), (0, ""), err)
        self.assertIn("accepted", err)

    def test_busy_gateway_is_asked_later(self):
        """Whatever it does instead of answering: the job is to be handed in again."""
        def closes(s):
            s.close()

        def resets(s):
            s.recv(1)
            s.close()

        def answers(s):
            s.recv(65536)
            body = b'{"success":false,"error":"busy"}'
            s.sendall(b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            s.close()
        g = self.gateway({"provider.default": {"type": "maildir", "path": "maildir"}}, start=False)
        os.makedirs(g.data, mode=0o700)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(g.socket_path())
            listener.listen()
            for act in (closes, resets, answers):
                for more in ((), ("--json",)):
                    with self.subTest(act=act.__name__, more=more):
                        t = threading.Thread(target=lambda: act(listener.accept()[0]))
                        t.start()
                        done = g.cli("send", "--to", "user@example.com", "--text", "x", *more)
                        t.join()
                        self.assertEqual(done.returncode, 75, done.stderr)

    def test_options_are_utf8(self):
        sink = self.sink()
        g = self.gateway({"provider.default": smtp(sink)}, start=False)
        for running in (False, True):
            if running:
                g.start()
            for option in ("--to", "--cc", "--bcc", "--subject", "--from", "--text", "--html", "--provider", "--tenant",
                           "--message-id"):
                with self.subTest(option=option, running=running):
                    words = {"--to": b"a@b.example", "--text": b"x", option: b"\xff@b.example"}
                    done = subprocess.run([*g.command, "-c", g.file, "send", *(w for pair in words.items() for w in pair)],
                                          capture_output=True, timeout=60)
                    self.assertIn(done.returncode, (1, 2), done)
                    self.assertIn(option.encode(), done.stderr)
        self.assertEqual(json.loads(g.cli("list", "--json").stdout)["items"], [], "nothing is stored or dropped")

    def test_drop_directory(self):
        sink = self.sink()
        g = self.gateway({"provider.default": smtp(sink)}, start=False)
        for n in range(3):
            done = g.cli("send", "-", stdin=json.dumps({**JOB, "subject": f"dropped {n}"}))
            self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(g.cli("send", "-", stdin="{}").returncode, 1, "judged before it is dropped")
        refused = g.cli("send", "--to", "nobody-here", "--from", "a@example.com", "--text", "x")
        self.assertEqual(refused.returncode, 1)
        self.assertIn("/to/0: not an address, and no alias: nobody-here", refused.stderr)
        refused = g.cli("send", "--to", "a@example.com", "--text", "x", "--provider", "no-such")
        self.assertIn("/provider_id: there is no provider no-such", refused.stderr)
        refused = g.cli("send", "--to", "a@example.com", "--from", "b@example.com", "--text", "x", "--wait")
        self.assertEqual(refused.returncode, 3, "there is nobody to wait for")
        drop = os.path.join(g.data, "drop")
        with open(os.path.join(drop, "zz-by-hand.json"), "w") as f:
            f.write('{"to": []}')
        with open(os.path.join(drop, "zz-good.json"), "w") as f:
            f.write(json.dumps({**JOB, "subject": "by hand"}))
        os.mkfifo(os.path.join(drop, "zz-pipe.json"))  # nobody will ever write into it
        g.start()
        g.wait_drained()
        self.assertEqual(sorted(m.parsed()["Subject"] for m in sink.mails),
                         ["by hand", "dropped 0", "dropped 1", "dropped 2"])
        # What was put there by hand was given a name of its own, and the log tells which.
        refused = os.path.join(drop, "refused")
        self.assertEqual(len([n for n in os.listdir(refused) if n.endswith(".json")]), 2)
        reasons = [open(os.path.join(refused, n)).read() for n in os.listdir(refused) if n.endswith(".reason")]
        self.assertEqual(len(reasons), 2)
        self.assertEqual(len([r for r in reasons if "/to" in r]), 1, reasons)
        self.assertIn("zz-by-hand.json", g.log_text())
        self.assertEqual([n for n in os.listdir(drop) if n != "refused"], [])

    def test_stop_while_a_full_drop_directory_is_taken_in(self):
        sink = self.sink()
        g = self.gateway({"provider.default": smtp(sink)}, start=False)
        drop = os.path.join(g.data, "drop")
        os.makedirs(drop, mode=0o700)
        for n in range(2000):
            with open(os.path.join(drop, f"1795315922756-000008612635-{n:012x}.json"), "w") as f:
                f.write(json.dumps({**JOB, "message_id": f"d{n}"}))
        g.start(wait=False)
        while "info store" not in g.log_text():
            time.sleep(0.01)
        began = time.monotonic()
        self.assertEqual(g.stop(15), 0)
        self.assertLess(time.monotonic() - began, 10)
        left = len([n for n in os.listdir(drop) if n.endswith(".json")])
        self.assertGreater(left, 0, "it was stopped in the middle")
        g.start()
        g.wait_drained()
        self.assertEqual(len(sink.ids), 2000)
        self.assertEqual(g.api("GET", "/api/emails?state=failed")[1]["items"], [])

    def test_sockets(self):
        g = self.gateway({"provider.default": {"type": "maildir", "path": "/nonexistent"}}, start=False)
        os.makedirs(g.data, mode=0o700)
        stale = socket.socket(socket.AF_UNIX)
        stale.bind(g.socket_path())
        stale.close()
        g.start()
        self.assertEqual(stat.S_IMODE(os.stat(g.socket_path()).st_mode), 0o600)
        second = Gateway(g.ini)
        self.addCleanup(second.close)
        second.start(wait=False)
        self.assertNotEqual(second.process.wait(10), 0, "a live socket and a data_dir in use are refused")
        second.process = None
        self.assertRegex(second.log_text(), "in use|already")
        self.assertEqual(g.api("GET", "/healthz")[0], 200)

    def test_cancel_and_requeue(self):
        sink = self.sink(replies={b"RCPT": [b"550 5.1.1 no such user"]})
        g = self.gateway({"provider.default": smtp(sink), "provider.dead": {
            "type": "smtp", "host": "127.0.0.1", "port": 1, "tls": "none", "from": "gw@example.com"}})
        id_ = g.api("POST", "/api/emails", {**JOB, "provider_id": "default", "message_id": "m1"})[1]["id"]
        job = g.wait_state(id_)
        self.assertEqual((job["state"], job["message_id"]), ("failed", "m1"))
        self.assertIn("550", job["error"])
        self.assertEqual(g.cli("requeue", str(id_)).returncode, 0)
        self.assertEqual(g.wait_state(id_, ("completed",))["state"], "completed")
        self.assertEqual(g.cli("requeue", str(id_)).returncode, 1, "only failed ones")
        held = g.api("POST", "/api/emails", {**JOB, "provider_id": "dead"})[1]["id"]
        for _ in range(100):
            if g.api("GET", f"/api/emails/{held}")[1]["error"]:
                break
            time.sleep(0.05)
        self.assertEqual(g.api("GET", f"/api/emails/{held}")[1]["state"], "pending")
        done = g.cli("cancel", str(held))
        self.assertEqual(done.returncode, 0, done.stderr)
        job = g.api("GET", f"/api/emails/{held}")[1]
        self.assertEqual(job["state"], "failed")
        self.assertIn("cancel", job["error"])
        self.assertEqual(g.cli("cancel", str(held)).returncode, 1)
        results = [i["message"] for i in g.api("GET", "/api/results?after=0")[1]["items"]]
        self.assertTrue(any(r.get("status") == "held" for r in results))
        self.assertFalse(results[-1]["success"])

    def test_requeue_all_in_pieces(self):
        g = self.gateway({"provider.default": {"type": "maildir", "path": "maildir", "from": "gw@example.com"}})
        later = {**JOB, "send_at": "2199-01-01T00:00:00Z"}
        ids = [i["id"] for _ in range(2) for i in g.api("POST", "/api/emails", [later] * 600)[1]["items"]]
        for id_ in ids:
            self.assertEqual(g.api("POST", f"/api/emails/{id_}/cancel")[0], 200)
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        with os.fdopen(theirs, "wb") as terminal:
            done = subprocess.run(g.command + ["-c", g.file, "requeue", "--all-failed"], stdout=subprocess.PIPE,
                                  stderr=terminal, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stdout), (0, "1200 jobs are queued again\n"))
        shown = os.read(ours, 65536).decode()
        self.assertIn("500 jobs", shown, "a person sees how far it is")
        self.assertIn("1000 jobs", shown)
        self.assertEqual(g.api("GET", "/api/emails?state=failed")[1]["items"], [])
        done = g.cli("requeue", "--all-failed", "--json")
        self.assertEqual((done.returncode, json.loads(done.stdout)["requeued"], done.stderr), (0, 0, ""))

    def test_retries_and_results(self):
        sink = self.sink(replies={b"RCPT": [b"451 4.7.1 later"] * 4})
        g = self.gateway({"provider.default": smtp(sink), "retry": {"delays": "100ms,200ms,300ms", "jitter": "0"}})
        id_ = g.api("POST", "/api/emails", {**JOB, "message_id": "r1"})[1]["id"]
        job = g.wait_state(id_)
        self.assertEqual(job["state"], "failed")
        self.assertEqual([a["code"] for a in job["attempts"]], [451] * 4)
        results = [i["message"] for i in g.api("GET", "/api/results?after=0")[1]["items"]]
        self.assertEqual([r["retry_count"] for r in results], [0, 1, 2, 3])
        self.assertEqual([r["next_retry_at"] is None for r in results], [False, False, False, True])
        for r in results:
            self.assertEqual((r["success"], r["max_retries"], r["message_id"]), (False, 3, "r1"))
            self.assertIn("451", r["error"])

    def test_show_prints_transcripts(self):
        sink = self.sink(replies={b"RCPT": [b"451 4.7.1 later"]})
        g = self.gateway({"provider.default": smtp(sink), "retry": {"delays": "100ms", "jitter": "0"}})
        id_ = g.api("POST", "/api/emails", JOB)[1]["id"]
        self.assertEqual(g.wait_state(id_)["state"], "completed")
        g.stop()
        db = sqlite3.connect(os.path.join(g.data, "postern.db"))
        for n in (1, 2):
            db.execute("INSERT OR REPLACE INTO log VALUES(?, 0, ?)",
                       (id_ << 10 | n, f"C: try {n}\nS: 451 4.7.1 \x1b[2J later\n"))
        db.commit()
        db.close()
        g.start()
        job = json.loads(g.cli("show", str(id_), "--json").stdout)
        self.assertEqual([a["transcript"].split("\n")[0] for a in job["attempts"]], ["C: try 1", "C: try 2"])
        lines = g.cli("show", str(id_)).stdout.split("\n")
        for n in (1, 2):
            at = lines.index(f"       C: try {n}")
            self.assertRegex(lines[at + 1], r"^       S: 451 4\.7\.1 \S+\[2J later$", "escaped, below its attempt")
            above = [line for line in lines[:at] if line.startswith("  ") and line[2].isdigit()]
            self.assertTrue(above[-1].startswith(f"  {n}  "), lines)
        self.assertNotIn("\x1b", "".join(lines))

    def test_a_failed_job_says_why(self):
        sink = self.sink(replies={b"RCPT": [None, b"550 5.1.1 nobody", b"451 4.7.1 later"]})
        g = self.gateway({"provider.default": smtp(sink), "retry": {"delays": "100ms", "jitter": "0"}})
        id_ = g.api("POST", "/api/emails", {**JOB, "to": ["a@example.com", "b@example.com", "c@example.com"]})[1]["id"]
        job = g.wait_state(id_)
        self.assertEqual(job["state"], "failed")
        self.assertEqual([r["state"] for r in job["recipients"]], ["sent", "failed", "sent"])
        self.assertIn("b@example.com", job["error"], "not the reply of those who were accepted")
        self.assertEqual([len(m.recipients) for m in sink.mails], [1, 1])

    def test_reload(self):
        sink, other = self.sink(), self.sink()
        g = self.gateway({"provider.default": smtp(sink)})
        g.api("POST", "/api/emails", JOB)
        g.wait_drained()
        g.write({**g.ini, "provider.default": {**smtp(other), "nonsense": "1"}})
        g.process.send_signal(signal.SIGHUP)
        for _ in range(100):
            if "nonsense" in g.log_text():
                break
            time.sleep(0.05)
        self.assertIn("nonsense", g.log_text())
        g.api("POST", "/api/emails", JOB)
        g.wait_drained()
        self.assertEqual((len(sink.mails), len(other.mails)), (2, 0), "a bad file changes nothing")
        g.write({k: v for k, v in g.ini.items() if k != "provider.default"} | {"provider.default": smtp(other)})
        g.process.send_signal(signal.SIGHUP)
        for _ in range(100):
            g.api("POST", "/api/emails", JOB)
            g.wait_drained()
            if other.mails:
                break
            time.sleep(0.05)
        self.assertGreater(len(other.mails), 0)

    def test_secrets_stay_secret(self):
        sink = self.sink(replies={b"EHLO": [b"250-sink.test\r\n250 AUTH PLAIN LOGIN"] * 9})
        secret = "Sw0rdf1sh-secret"
        g = self.gateway({"gateway": {"log_level": "debug"},
                          "provider.default": smtp(sink, username="u", password=secret)})
        g.api("POST", "/api/emails", JOB)
        time.sleep(1)
        import base64
        for form in (secret, base64.b64encode(secret.encode()).decode(),
                     base64.b64encode(b"\0u\0" + secret.encode()).decode()):
            self.assertNotIn(form, g.log_text(1 << 20))
            for words in (("status", "--json"), ("list", "--json"), ("show", "1", "--json"), ("check",)):
                done = g.cli(*words)
                self.assertNotIn(form, done.stdout + done.stderr)
        os.chmod(g.file, 0o644)
        done = g.cli("check")
        self.assertEqual(done.returncode, 2, "a secret that others can read")
        self.assertNotIn(secret, done.stdout + done.stderr)

    def test_check_names_every_problem(self):
        g = self.gateway({"gateway": {"log_level": "loud", "colour": "red"}, "broker": {"port": "70000"},
                          "store": {"max_bytes": "12X"}}, start=False)
        done = g.cli("check")
        self.assertEqual(done.returncode, 2)
        text = done.stdout + done.stderr
        for line, key in ((3, "colour"), (2, "log_level"), (6, "port"), (8, "max_bytes")):
            self.assertIn(key, text)
        for line in text.strip().splitlines():
            self.assertRegex(line, r":\d+: |note|error")
        self.assertEqual(g.cli("run").returncode, 2)

    def test_stop_within_ten_seconds_while_sending(self):
        sink = self.sink(delay=30)
        g = self.gateway({"provider.default": smtp(sink)})
        id_ = g.api("POST", "/api/emails", JOB)[1]["id"]
        time.sleep(0.5)
        began = time.monotonic()
        self.assertEqual(g.stop(15), 0)
        self.assertLess(time.monotonic() - began, 10)
        g.start()
        self.assertEqual(g.api("GET", f"/api/emails/{id_}")[1]["retry_count"], 0)


if __name__ == "__main__":
    unittest.main()
