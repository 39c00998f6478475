"""The seed's example job through a real Postfix, and what came out, field by field, with Python's mail parser."""
import email
import email.policy
import email.utils
import json
import os
import re
import unittest

import postfix
from gateway import TREE, Gateway

SEED = os.path.join(TREE, "..", "shared", "seeds", "rabbitmq-integration-guide.md")


# The example job of the integration guide, without its attachment.
EXAMPLE = {
    "tenant_id": "01996243-2d8c-726d-a5c2-81b7005ce9a2", "provider_id": "0198a819-e5d3-703a-a39a-1b77e3ece687",
    "user_id": "user-123", "message_id": "unique-message-id", "from": "noreply@company.com",
    "to": ["user@example.com"], "cc": ["cc@example.com"], "bcc": ["bcc@example.com"], "subject": "Test Email",
    "body_format": "HTML", "body_content": "<p>Hello World</p>",
    "headers": {"X-Custom-Header": "Custom Value", "X-Priority": "1"}, "template_id": "template-123",
    "campaign_id": "campaign-456", "timestamp": "2025-09-19T10:30:00Z"}


def seed_job():
    """The example as it stands in the guide where that lies beside the project, else as it is repeated above."""
    if not os.path.exists(SEED):
        return dict(EXAMPLE)
    with open(SEED, encoding="utf-8") as f:
        text = f.read()
    block = re.search(r"### Queue: `email\.send`.*?```json\n(.*?)```", text, re.DOTALL).group(1)
    job = json.loads(block)
    del job["attachments"]
    if job != EXAMPLE:
        raise AssertionError("the guide's example has changed: repeat it here")
    return job


def parse(raw):
    return email.message_from_bytes(raw, policy=email.policy.default)


@unittest.skipIf(postfix.missing(), postfix.missing())
class PostfixTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = postfix.Postfix().start()

    @classmethod
    def tearDownClass(cls):
        cls.server.close()

    def gateway(self, **keys):
        provider = {"type": "smtp", "host": "localhost", "port": self.server.port, "tls": "starttls",
                    "tls_ca": self.server.ca, "username": self.server.user, "password": self.server.password,
                    "from": "Gateway <gateway@example.com>", "display_name": "Office Postfix", **keys}
        g = Gateway({"provider.office": provider})
        self.addCleanup(g.close)
        return g.start()

    def send(self, gateway, job):
        done = gateway.cli("send", "--wait", "-", stdin=json.dumps(job))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr + gateway.log_text())
        return done.stdout.split()[0]

    def test_seed_example(self):
        job = seed_job()
        provider = job.pop("provider_id")
        gateway = self.gateway(provider_id=provider, tenant_id=job["tenant_id"])
        job["provider_id"] = provider
        for field in ("to", "cc", "bcc"):
            self.assertEqual(len(job[field]), 1)
        id_ = self.send(gateway, job)
        shown = json.loads(gateway.cli("show", id_, "--json").stdout)
        self.assertEqual(shown["state"], "completed")
        self.assertEqual(shown["message_id"], job["message_id"])
        self.assertEqual(shown["tenant_id"], job["tenant_id"])

        mails = {}
        for box in ("user", "cc", "bcc"):
            self.server.wait_mails(box, 1)
            mine = [m for m in map(parse, self.server.mails(box)) if m["Subject"] == job["subject"]]
            self.assertEqual(len(mine), 1, box)
            mails[box] = mine[0]
        for box, mail in mails.items():
            self.assertEqual(mail["From"], job["from"])
            self.assertEqual([a.addr_spec for a in mail["To"].addresses], job["to"])
            self.assertEqual([a.addr_spec for a in mail["Cc"].addresses], job["cc"])
            self.assertIsNone(mail["Bcc"], "Bcc must not be shown")
            self.assertNotIn(job["bcc"][0], "".join(f"{k}: {v}" for k, v in mail.items()
                                                    if k not in ("X-Original-To", "Delivered-To", "Received")))
            self.assertEqual(mail["Subject"], job["subject"])
            for name, value in job["headers"].items():
                self.assertEqual(mail[name], value)
            self.assertEqual(mail["MIME-Version"], "1.0")
            self.assertEqual(mail.get_content_type(), "text/html")
            self.assertEqual(mail.get_content_charset(), "us-ascii")
            self.assertEqual(mail.get_content().rstrip("\n"), job["body_content"])
            self.assertTrue(mail["Message-ID"].endswith("@company.com>"), mail["Message-ID"])
            self.assertIsNotNone(email.utils.parsedate_to_datetime(mail["Date"]))
            self.assertEqual(mail.defects, [])
        self.assertEqual(len({m["Message-ID"] for m in mails.values()}), 1)

        log = self.server.log_text()
        self.assertRegex(log, r"TLS connection established from .*TLSv1\.[23]")
        self.assertIn("sasl_method=SCRAM-SHA-256", log)
        results = gateway.api("GET", "/api/results?after=0")[1]["items"]
        result = results[-1]["message"]
        self.assertTrue(result["success"])
        self.assertEqual((result["status"], result["message_id"]), ("sent", job["message_id"]))
        answer = result["provider_response"]
        self.assertEqual(answer["provider_name"], "Office Postfix")
        self.assertIn(f"{answer['provider_message_id']}: ", log, "the id in the result is Postfix's queue id")

    def test_utf8_and_alternative(self):
        gateway = self.gateway()
        text = "Zeile eins\nÜber 76 Zeichen: " + "größer " * 30 + "\n.\n..zwei Punkte\nFrom hier\ntrailing \n"
        html = "<p>日本語のテキスト</p>\n" * 40
        job = {"to": ['"Müller, Jörg" <user@example.com>'], "cc": ["Ünï <cc@example.com>"],
               "from": "Störmeldung <gateway@example.com>", "reply_to": "reply@example.com",
               "subject": "Grüße aus der Fabrik – ein sehr langer Betreff, der gefaltet werden muss ✉ " * 3,
               "body_format": "HTML", "body_content": html, "text_content": text, "message_id": "utf8-1"}
        self.send(gateway, job)
        mail = None
        for raw in self.server.wait_mails("cc", 1):
            if "Fabrik" in (parse(raw)["Subject"] or ""):
                mail = parse(raw)
                self.assertLessEqual(max(map(len, raw.split(b"\n\n", 1)[0].splitlines())), 998)
                self.assertTrue(all(byte < 128 for byte in raw), "headers and parts are ASCII")
        self.assertIsNotNone(mail)
        self.assertEqual(mail["Subject"].strip(), job["subject"].strip())
        self.assertEqual(mail["To"].addresses[0].display_name, "Müller, Jörg")
        self.assertEqual(mail["Cc"].addresses[0].display_name, "Ünï")
        self.assertEqual(mail["From"].addresses[0].display_name, "Störmeldung")
        self.assertEqual(mail["Reply-To"], "reply@example.com")
        self.assertEqual(mail.get_content_type(), "multipart/alternative")
        self.assertEqual([p.get_content_type() for p in mail.iter_parts()], ["text/plain", "text/html"])
        lines = lambda part: part.get_content().replace("\r\n", "\n")  # in base64 the line end is MIME's
        self.assertEqual(lines(mail.get_body(("plain",))), text)
        self.assertEqual(lines(mail.get_body(("html",))), html)

    def test_implicit_tls_and_many(self):
        gateway = self.gateway(port=self.server.tls_port, tls="implicit", auth="login")
        jobs = [{"to": ["user@example.com"], "subject": f"n {n}", "body_format": "TEXT", "body_content": f"body {n}"}
                for n in range(50)]
        status, answer = gateway.api("POST", "/api/emails", jobs)
        self.assertEqual(status, 202, answer)
        gateway.wait_drained()
        subjects = [parse(raw)["Subject"] for raw in self.server.wait_mails("user", 50)]
        for n in range(50):
            self.assertEqual(subjects.count(f"n {n}"), 1)
        connects = len(re.findall(r"sasl_method=LOGIN", self.server.log_text()))
        self.assertGreaterEqual(connects, 50)
        self.assertLess(len(re.findall(r"disconnect from", self.server.log_text())), 50, "connections are reused")

    def test_wrong_password_holds(self):
        gateway = self.gateway(password="wrong")
        id_ = json.loads(json.dumps(gateway.api("POST", "/api/emails", {
            "to": ["user@example.com"], "subject": "held", "body_format": "TEXT", "body_content": "x"})[1]))["id"]
        for _ in range(200):
            job = gateway.api("GET", f"/api/emails/{id_}")[1]
            if job["error"]:
                break
            import time
            time.sleep(0.05)
        self.assertEqual(job["state"], "pending")
        self.assertIn("535", job["error"])
        self.assertNotIn("wrong", gateway.log_text())

    def test_unknown_recipient_fails(self):
        gateway = self.gateway()
        status, answer = gateway.api("POST", "/api/emails", {"to": ["nobody@example.com", "user@example.com"],
                                                             "subject": "half", "body_format": "TEXT", "body_content": "x"})
        self.assertEqual(status, 202)
        job = gateway.wait_state(answer["id"])
        self.assertEqual(job["state"], "failed")
        outcome = {r["address"]: r for r in job["recipients"]}
        self.assertEqual(outcome["user@example.com"]["state"], "sent")
        self.assertEqual(outcome["nobody@example.com"]["state"], "failed")
        self.assertIn("550", job["error"])

    def test_untrusted_certificate_holds(self):
        gateway = self.gateway(tls_ca="")
        answer = gateway.api("POST", "/api/emails", {"to": ["user@example.com"], "subject": "s", "body_format": "TEXT",
                                                     "body_content": "x"})[1]
        import time
        for _ in range(200):
            job = gateway.api("GET", f"/api/emails/{answer['id']}")[1]
            if job["error"]:
                break
            time.sleep(0.05)
        self.assertEqual(job["state"], "pending")
        self.assertRegex(job["error"], "certificate|TLS")


if __name__ == "__main__":
    unittest.main()
