#!/usr/bin/env python3
"""The Python worker that a small project writes: one process, jobs as rows of SQLite, smtplib over one kept connection,
one commit for each mail (WAL, synchronous=FULL).

    worker.py FILE PORT      ends its work with the line "done", and itself when standard input ends
"""
import email.message
import json
import smtplib
import sqlite3
import sys
import time


def compose(number, job):
    mail = email.message.EmailMessage()
    mail["From"] = job["from"]
    mail["To"] = ", ".join(job["to"])
    mail["Subject"] = job["subject"]
    mail["Date"] = time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime())
    mail["Message-ID"] = f"<{number}@worker.example.com>"
    mail.set_content(job["body_content"])
    return mail


def main():
    db = sqlite3.connect(sys.argv[1], isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    smtp = smtplib.SMTP("127.0.0.1", int(sys.argv[2]), local_hostname="worker.example.com")
    while True:
        row = db.execute("SELECT id, job FROM job WHERE status = 0 ORDER BY id LIMIT 1").fetchone()
        if row is None:
            break
        smtp.send_message(compose(row[0], json.loads(row[1])))
        db.execute("UPDATE job SET status = 1, sent_at = ? WHERE id = ?", (time.time(), row[0]))
    print("done", flush=True)
    sys.stdin.read()
    smtp.quit()


if __name__ == "__main__":
    main()
