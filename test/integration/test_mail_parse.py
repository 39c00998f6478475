"""Composed mails read by Python's email package: names, addresses, subject, headers, bodies, files, field by field.

No gateway: build/TC/test/integration/compose composes one job a line, with attachments, which jobs may not have yet.
"""
import base64
import email
import email.header
import email.policy
import email.utils
import json
import os
import random
import subprocess
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..")
MAILS = 400

WORDS = ["a", "Zwölf", "日本語", "😀👩‍💻", "e\u0301", "שלום", "مرحبا", "O'Neil", 'a "b"', "back\\slash", "x,y;z:", "(c)",
         "<d>", "=?UTF-8?Q?a?=", "_", "=", "  ", "Ωμέγα", "w" * 70, "ß", ".", "@", "Hello", "World", "тест"]
TEXTS = WORDS + ["\n", "\r\n", "\n.\n", "\nFrom x", " \n", "\t\n", "--=_", "\r", "long " * 300, "L" * 1200, "<p>", "\n"]
FILES = ["a.txt", "Übersicht.pdf", "a b.csv", 'q"uo\\te.bin', "日本語のとても長いファイル名" * 3 + ".txt", "l" * 120 + ".x",
         "=?UTF-8?Q?a?=.txt", "x'y%20z.pdf", "😀.png"]
DOMAINS = {"example.com": "example.com", "bücher.example": "xn--bcher-kva.example", "日本語.jp": "xn--wgv71a119e.jp"}


def phrase(dice, words=WORDS, most=8):
    return " ".join(dice.choice(words) for _ in range(dice.randint(1, most))).strip()


def quoted(name):
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def canonical(text):
    """Line ends as a reader sees them; the last line is ended."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text if not text or text.endswith("\n") else text + "\n"


class Job:
    """A random job, and what a reader must find."""

    def __init__(self, seed):
        self.dice = dice = random.Random(seed)
        self.job = {"body_format": "HTML", "message_id": str(seed)}
        self.rcpts = {"to": [], "cc": []}
        self.groups = {"to": [], "cc": []}
        for field in ("to", "cc") if dice.random() < 0.5 else ("to",):
            self.job[field] = [self.item(field) for _ in range(dice.randint(1, 5))]
        self.name, address, text = self.address()
        self.sender = address
        self.job["from"] = text
        if dice.random() < 0.3:
            self.reply = [self.address() for _ in range(dice.randint(1, 4))]
            self.job["headers"] = {"Reply-To": ", ".join(r[2] for r in self.reply)}
        self.subject = phrase(dice, most=20)
        if dice.random() < 0.9:
            self.job["subject"] = self.subject
        self.custom = phrase(dice, [w for w in WORDS if "=?" not in w], 30)
        self.ids = " ".join(f"<{dice.getrandbits(dice.choice((40, 400)))}@example.com>"
                            for _ in range(dice.randint(1, 12)))
        self.uris = ", ".join(f"<https://example.com/{'u' * dice.randint(1, 300)}>" for _ in range(dice.randint(1, 3)))
        self.job.setdefault("headers", {}).update(
            {"X-Custom": self.custom, "References": self.ids, "List-Unsubscribe": self.uris})
        if dice.random() < 0.7:
            self.job["text_content"] = "".join(dice.choice(TEXTS) for _ in range(dice.randint(0, 60)))
        self.job["body_content"] = "".join(dice.choice(TEXTS) for _ in range(dice.randint(0, 60)))
        self.job["attachments"] = [self.attachment(i) for i in range(dice.choice((0, 0, 1, 2, 3, 6)))]

    def address(self):
        dice = self.dice
        name = phrase(dice, most=5) if dice.random() < 0.7 else ""
        domain = dice.choice(list(DOMAINS))
        local = dice.choice(["a", "first.last", "x+tag", '"q p"', "l" * 64])
        text = f"{local}@{domain}"
        return name, f"{local}@{DOMAINS[domain]}", f"{quoted(name)} <{text}>" if name else text

    def unique(self, field):
        """A recipient that was not there before: a job keeps each once."""
        name, address, _ = self.address()
        number = sum(len(r) for r in self.rcpts.values())
        address = f"@n{number}.".join(address.rsplit("@", 1))
        self.rcpts[field].append((name, address))
        return f"{quoted(name)} <{address}>" if name else address

    def item(self, field):
        if self.dice.random() < 0.8:
            text = self.unique(field)
            self.groups[field].append(None)
            return text
        name = phrase(self.dice, most=2) or "Team"
        members = [self.unique(field) for _ in range(self.dice.randint(1 if field == "to" else 0, 3))]
        self.groups[field].append((name, len(members)))
        return f"{quoted(name)}: {', '.join(members)};"

    def attachment(self, i):
        dice = self.dice
        kind = dice.choice(["application/pdf", "text/plain", "text/csv", "image/png", "message/rfc822"])
        content = bytes(dice.getrandbits(8) for _ in range(dice.choice((0, 1, 56, 57, 58, 1000))))
        if kind.startswith("text/"):
            content = "".join(dice.choice(TEXTS) for _ in range(dice.randint(0, 20))).encode()
        if kind == "message/rfc822":
            content = b"From: a@b.c\r\nSubject: inside\r\n\r\nFrom here\r\n.\r\n" + dice.choice((b"", b"\xc3\xbc\r\n"))
        it = {"filename": dice.choice(FILES), "mime_type": kind, "content": base64.b64encode(content).decode()}
        if dice.random() < 0.3 and kind == "image/png":
            it["content_id"] = f"part{i}@example.com"
        return it


def compose(jobs):
    program = os.path.join(ROOT, "build", os.environ.get("TC", "host"), "test", "integration", "compose")
    subprocess.run(["make", "-s", "tools"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    text = "".join(json.dumps(j, ensure_ascii=i % 2 == 0) + "\n" for i, j in enumerate(jobs))
    out = subprocess.run([program], input=text.encode(), stdout=subprocess.PIPE, check=True, timeout=120).stdout
    mails = []
    while out:
        head, out = out.split(b"\n", 1)
        size = int(head.split()[0])
        mails.append(out[:size] if size else head.decode())
        out = out[size:]
    return mails


def addresses(header):
    """Names and addresses as the package's older half reads them: the newer one puts a space between the encoded
    words of one name. An empty group is an empty address to the older one."""
    pairs = email.utils.getaddresses([header.replace("\r", "").replace("\n", "")])
    return [(str(email.header.make_header(email.header.decode_header(name))), address)
            for name, address in pairs if address]


def leaves(part):
    """All parts that hold something, not looking into messages inside."""
    if not part.is_multipart() or part.get_content_type() == "message/rfc822":
        return [part]
    return [leaf for p in part.iter_parts() for leaf in leaves(p)]


def bare(name):
    return "".join(name.split())


class ParseTest(unittest.TestCase):
    maxDiff = None

    def check_header(self, job, mail, old):
        self.assertEqual(addresses(old["From"]), [(job.name, job.sender)])
        for field in ("to", "cc"):
            header = mail[field]
            if not job.groups[field]:
                self.assertIsNone(header)
                continue
            self.assertEqual(addresses(old[field]), job.rcpts[field])
            self.assertEqual([a.addr_spec for a in header.addresses], [r[1] for r in job.rcpts[field]])
            self.assertEqual([g.display_name and (bare(g.display_name), len(g.addresses)) for g in header.groups],
                             [g and (bare(g[0]), g[1]) for g in job.groups[field]])
        if hasattr(job, "reply"):
            self.assertEqual(addresses(old["Reply-To"]), [(r[0], r[1]) for r in job.reply])
        self.assertEqual(mail["Subject"], job.job.get("subject"))
        self.assertEqual(mail["X-Custom"], job.custom)
        self.assertEqual(mail["References"], job.ids)
        self.assertEqual(mail["List-Unsubscribe"], job.uris)
        self.assertEqual(mail["Message-ID"], "<id@example.com>")
        self.assertIsNone(mail["Date"])

    def check_defects(self, mail):
        for part in mail.walk():
            self.assertEqual(part.defects, [])
        for name in ("From", "To", "Cc", "Reply-To", "Subject", "X-Custom", "MIME-Version"):
            self.assertEqual(getattr(mail[name], "defects", ()), (), name)

    def check_bodies(self, job, mail):
        bodies = [p for p in leaves(mail) if p.get_content_disposition() is None]
        wanted = [(k, job.job[m]) for k, m in (("plain", "text_content"), ("html", "body_content")) if m in job.job]
        self.assertEqual([p.get_content_subtype() for p in bodies], [k for k, _ in wanted])
        for part, (_, text) in zip(bodies, wanted):
            self.assertEqual(canonical(part.get_payload(decode=True).decode()), canonical(text))
            ascii_only = text.isascii()
            self.assertEqual(part.get_content_charset(), "us-ascii" if ascii_only else "utf-8")

    def check_files(self, job, mail):
        wanted = [a for a in job.job["attachments"] if "content_id" in a]
        wanted += [a for a in job.job["attachments"] if "content_id" not in a]
        got = [p for p in leaves(mail) if p.get_content_disposition()]
        self.assertEqual([p.get_filename() for p in got], [a["filename"] for a in wanted])
        for part, a in zip(got, wanted):
            self.assertEqual(part.get_content_type(), a["mime_type"])
            self.assertEqual(part.get_content_disposition(), "inline" if "content_id" in a else "attachment")
            self.assertEqual(part["Content-ID"], f"<{a['content_id']}>" if "content_id" in a else None)
            content = base64.b64decode(a["content"])
            if a["mime_type"] == "message/rfc822":
                self.assertEqual(part.get_content()["Subject"], "inside")
                self.assertEqual(part.get_content().as_bytes(policy=email.policy.SMTP), content)
            else:
                self.assertEqual(part.get_payload(decode=True), content)

    def shape(self, part):
        """The tree as nested tuples of the multiparts' kinds and how many leaves."""
        if not part.is_multipart() or part.get_content_type() == "message/rfc822":
            return 1
        return (part.get_content_subtype(), [self.shape(p) for p in part.iter_parts()])

    def check_tree(self, job, mail):
        inline = sum("content_id" in a for a in job.job["attachments"])
        attached = len(job.job["attachments"]) - inline
        tree = ("related", [1] * (1 + inline)) if inline else 1
        if "text_content" in job.job:
            tree = ("alternative", [1, tree])
        if attached:
            tree = ("mixed", [tree] + [1] * attached)
        self.assertEqual(self.shape(mail), tree)

    def check_lines(self, raw):
        head = raw.split(b"\r\n\r\n", 1)[0].split(b"\r\n")
        for line in raw.split(b"\r\n"):
            self.assertLessEqual(len(line), 998)
            self.assertNotIn(b"\n", line)
            self.assertNotIn(b"\r", line)
        for line in head:
            self.assertTrue(line.strip())
            if b"=?UTF-8?" in line:
                self.assertLessEqual(len(line), 76)

    def test_reads_what_went_in(self):
        jobs = [Job(seed) for seed in range(MAILS)]
        mails = compose([j.job for j in jobs])
        self.assertEqual(len(mails), MAILS)
        for seed, (job, raw) in enumerate(zip(jobs, mails)):
            with self.subTest(seed=seed):
                self.assertIsInstance(raw, bytes, raw)
                mail = email.message_from_bytes(raw, policy=email.policy.default)
                self.check_lines(raw)
                self.check_header(job, mail, email.message_from_bytes(raw, policy=email.policy.compat32))
                self.check_defects(mail)
                self.check_tree(job, mail)
                self.check_bodies(job, mail)
                self.check_files(job, mail)

    def test_refuses_line_breaks_wherever_they_stand(self):
        job = {"to": ["a@b.c"], "body_content": "x"}
        places = [("to", lambda x: [f"a{x}@b.c"], "/to/0"), ("to", lambda x: [f'"a{x}" <a@b.c>'], "/to/0"),
                  ("to", lambda x: [f"T{x}: a@b.c;"], "/to/0"), ("to", lambda x: [f"T: a@b.c{x};"], "/to/0"),
                  ("cc", lambda x: [f"a@b{x}.c"], "/cc/0"), ("from", lambda x: f"a@b.c{x}", "/from"),
                  ("reply_to", lambda x: f"{x}a@b.c", "/reply_to"), ("subject", lambda x: f"a{x}b", "/subject"),
                  ("headers", lambda x: {"X-A": f"a{x}b"}, "/headers/X-A"),
                  ("headers", lambda x: {"Reply-To": f"a@b.c,{x}d@e.f"}, "/headers/Reply-To"),
                  ("headers", lambda x: {"References": f"<a@b>{x}<c@d>"}, "/headers/References")]
        cases = [({**job, member: make(bad)}, pointer) for member, make, pointer in places
                 for bad in ("\r", "\n", "\r\n", "\r\n ", "\0")]
        for (given, pointer), said in zip(cases, compose([c[0] for c in cases])):
            with self.subTest(job=given):
                self.assertRegex(said, f"^0 {pointer}: .*(a line break|a NUL) in it$")


if __name__ == "__main__":
    unittest.main()
