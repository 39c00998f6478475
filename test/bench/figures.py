#!/usr/bin/env python3
"""The figures of the README: size, memory, start. `make figures` prints them; medians of several runs.

Nothing is asserted here: a machine's mood is not a test. What is compared with other software is `make bench`.
"""
import json
import os
import socket
import ssl
import statistics
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from gateway import Gateway, command  # noqa: E402
from sink import Sink, certificate  # noqa: E402

RUNS = int(os.environ.get("POSTERN_RUNS", "5"))
WAITING = int(os.environ.get("POSTERN_WAITING", "100000"))


def memory(gateway):
    """(resident now, highest so far) in KB."""
    with open(f"/proc/{gateway.process.pid}/status") as f:
        words = dict(line.split(":", 1) for line in f)
    return tuple(int(words[k].split()[0]) for k in ("VmRSS", "VmHWM"))


def start_ms(gateway):
    """From exec to the first 200 of /readyz."""
    began = time.monotonic()
    gateway.start(wait=False)
    while True:
        try:
            s = socket.socket(socket.AF_UNIX)
            s.connect(gateway.socket_path())
            s.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            if b" 200 " in s.recv(4096):
                return (time.monotonic() - began) * 1000
        except OSError:
            pass
        finally:
            s.close()
        time.sleep(0.0005)


def median_start(gateway, runs):
    out = []
    for _ in range(runs):
        out.append(start_ms(gateway))
        gateway.stop(30)
    return out


def show(name, value):
    print(f"{name:58} {value}", flush=True)


def spread(values, unit):
    return f"{statistics.median(values):.1f} {unit} (of {len(values)}: {min(values):.1f} to {max(values):.1f})"


def provider(port, **keys):
    return {"type": "smtp", "host": "localhost", "port": port, "tls": "none", "from": "gw@example.com",
            "connections": 8, **keys}


def load(gateway, jobs):
    body = "x" * 76 + "\n"
    for first in range(0, jobs, 250):
        batch = [{"to": ["user@example.com"], "subject": f"job {n}", "body_format": "TEXT", "body_content": body * 22}
                 for n in range(first, first + 250)]
        status, answer = gateway.api("POST", "/api/emails", batch)
        assert status == 202, answer


def main():
    binary = command()[-1]
    show("product, stripped", f"{os.path.getsize(binary):,} bytes")
    with tempfile.TemporaryDirectory(prefix="postern-") as folder:
        gateway = Gateway({"provider.default": {"type": "maildir", "path": "maildir", "from": "gw@example.com"}})
        show("ready after start, empty store", spread(median_start(gateway, RUNS), "ms"))
        gateway.start()
        time.sleep(3)
        show("resident, idle", f"{memory(gateway)[0]:,} KB")
        gateway.close()

        ca, cert, key = certificate(folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        for name, words in (("no TLS", {}), ("STARTTLS", {"tls": "starttls", "tls_ca": ca})):
            sink = Sink(tls=context, keep=False, delay=0.002)
            gateway = Gateway({"provider.default": provider(sink.port, **words), "worker": {"min": 8, "max": 8}})
            gateway.start()
            began = time.monotonic()
            load(gateway, 5000)
            gateway.wait_drained(300)
            seconds = time.monotonic() - began
            now, peak = memory(gateway)
            show(f"resident, 5,000 mails of 2 KB, 8 workers, {name}", f"{peak:,} KB at most ({now:,} after; {seconds:.1f} s)")
            assert not sink.violations and len(sink.mails) == 5000, (sink.violations[:3], len(sink.mails))
            gateway.close()
            sink.close()

        gateway = Gateway({"provider.default": provider(1), "store": {"max_bytes": "1G"}})
        gateway.start()
        for first in range(0, WAITING, 250):
            batch = [{"to": ["user@example.com"], "subject": f"job {n}", "body_format": "TEXT", "body_content": "x" * 200}
                     for n in range(first, first + 250)]
            status, answer = gateway.api("POST", "/api/emails", batch)
            assert status == 202, answer
        gateway.stop(30)
        show(f"ready after start, {WAITING:,} waiting jobs", spread(median_start(gateway, RUNS), "ms"))
        gateway.start()
        time.sleep(2)
        show(f"resident, {WAITING:,} waiting jobs", f"{memory(gateway)[0]:,} KB")
        print(json.dumps(gateway.api("GET", "/api/status")[1])[:600])
        gateway.close()


if __name__ == "__main__":
    main()
