"""TLS with a real Postfix: sessions that are resumed, counted in its log; client certificates that it demands. And with
OpenSSL itself: what it says when it refuses us, and certificates of 70 KB.
"""
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest

import postfix
from gateway import Gateway
from sink import certificate

EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


class TlsPostfix(postfix.Postfix):
    """main: lines that come after the usual ones and overrule them."""

    def __init__(self, main):
        self.main = main
        super().__init__()

    def configure(self, cert, key):
        super().configure(cert, key)
        with open(self.path("conf", "main.cf"), "a") as f:
            f.writelines(f"{k} = {v}\n" for k, v in self.main(self).items())


def client_certificate(server, name, issued):
    """A client's certificate, issued by the server's CA or by itself: (pem, key, its fingerprint as Postfix writes it)."""
    pem, key, csr, ext = (server.path(f"{name}.{end}") for end in ("pem", "key", "csr", "ext"))
    run = lambda *w: subprocess.run(["openssl", *w], check=True, capture_output=True, text=True).stdout
    with open(ext, "w") as f:
        f.write("basicConstraints=CA:FALSE\nextendedKeyUsage=clientAuth\n")
    if issued:
        run("req", *EC, "-keyout", key, "-out", csr, "-subj", f"/CN={name}")
        run("x509", "-req", "-in", csr, "-CA", server.ca, "-CAkey", server.path("ca.key"), "-CAcreateserial", "-out", pem,
            "-days", "30", "-extfile", ext)
    else:
        run("req", "-x509", *EC, "-keyout", key, "-out", pem, "-days", "30", "-subj", f"/CN={name}")
    return pem, key, run("x509", "-in", pem, "-noout", "-fingerprint", "-sha256").split("=", 1)[1].strip()


def job(n):
    return {"to": ["user@example.com"], "subject": f"n {n}", "body_format": "TEXT", "body_content": f"body {n}"}


def job_error(gateway):
    """Hands a job in that cannot be sent: its state, and what is said of it."""
    id_ = gateway.api("POST", "/api/emails", job(1))[1]["id"]
    end = time.monotonic() + 20
    while time.monotonic() < end:
        got = gateway.api("GET", f"/api/emails/{id_}")[1]
        if got["error"]:
            return got["state"], got["error"]
        time.sleep(0.05)
    raise AssertionError("nothing is said: " + gateway.log_text())


@unittest.skipIf(postfix.missing(), postfix.missing())
class PostfixTlsTest(unittest.TestCase):
    def server(self, main):
        server = TlsPostfix(main).start()
        self.addCleanup(server.close)
        return server

    def gateway(self, server, **keys):
        provider = {"type": "smtp", "host": "localhost", "port": server.port, "tls": "starttls", "tls_ca": server.ca,
                    "username": server.user, "password": server.password, "from": "gateway@example.com", **keys}
        g = Gateway({"provider.office": provider, "worker": {"max": 1}})
        self.addCleanup(g.close)
        return g.start()

    def resume(self, version, protocols, expected):
        """Ten mails, each over a connection of its own: the first does a whole handshake."""
        server = self.server(lambda s: {"smtpd_tls_loglevel": "2", "smtpd_tls_mandatory_protocols": protocols,
                                        "smtpd_tls_protocols": protocols})
        gateway = self.gateway(server, messages_per_connection=1)
        for n in range(10):
            done = gateway.cli("send", "--wait", "-", stdin=json.dumps(job(n)))
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr + gateway.log_text())
        self.assertEqual(len(server.wait_mails("user", 10)), 10)
        log = server.log_text()
        handshakes = re.findall(r"TLS connection established from \S+: (TLSv[\d.]+)", log)
        self.assertEqual(handshakes, [version] * 10)
        self.assertEqual(len(re.findall(r"Reusing old session \(RFC 5077 session ticket\)", log)), expected)

    def test_resumes_tls13(self):
        # Of TLS 1.3 a ticket is used once, and Postfix gives none when it was given one: every other connection.
        self.resume("TLSv1.3", ">=TLSv1.3", 5)

    def test_resumes_tls12(self):
        self.resume("TLSv1.2", "<=TLSv1.2", 9)

    def demanding(self, protocols):
        """A Postfix that talks to nobody without a certificate of its CA, and relays for one fingerprint only."""
        def main(server):
            self.good = client_certificate(server, "gateway-1", True)
            self.other = client_certificate(server, "gateway-2", True)
            self.stray = client_certificate(server, "gateway-3", False)
            return {"smtpd_tls_security_level": "encrypt", "smtpd_tls_req_ccert": "yes", "smtpd_tls_CAfile": server.ca,
                    "smtpd_tls_fingerprint_digest": "sha256", "smtpd_tls_received_header": "yes",
                    "smtpd_tls_mandatory_protocols": protocols, "smtpd_tls_protocols": protocols,
                    "relay_clientcerts": "inline:{ { " + self.good[2] + " = ok } }",
                    "smtpd_relay_restrictions": "permit_tls_clientcerts, reject"}
        return self.server(main)

    def refused(self, server, **keys):
        """What is said of a job that such a configuration cannot send."""
        gateway = self.gateway(server, username="", password="", **keys)
        return job_error(gateway)

    def client_certificates(self, protocols):
        server = self.demanding(protocols)
        pem, key, _ = self.good
        gateway = self.gateway(server, username="", password="", tls_cert=pem, tls_key=key)
        done = gateway.cli("send", "--wait", "-", stdin=json.dumps(job(0)))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr + gateway.log_text() + server.log_text())
        received = " ".join(server.wait_mails("user", 1)[0].decode().split())
        self.assertIn('(Client CN "gateway-1", Issuer "postern test CA" (verified OK))', received)
        # Known, but not one that may relay: that is an answer to RCPT, and fails the mail.
        pem, key, _ = self.other
        state, error = self.refused(server, tls_cert=pem, tls_key=key)
        self.assertEqual(state, "failed")
        self.assertIn("554 5.7.1", error)
        # None, and one that nobody has issued: Postfix closes the connection after TLS, and the mail waits.
        state, error = self.refused(server)
        self.assertEqual((state, error), ("pending", "421 4.7.1 mx.example.com Error: No client certificate presented"))
        pem, key, _ = self.stray
        state, error = self.refused(server, tls_cert=pem, tls_key=key)
        self.assertEqual(state, "pending")
        self.assertRegex(error, r"^421 4\.7\.1 mx\.example\.com Error: Client certificate not trusted")

    def test_client_certificates_tls13(self):
        self.client_certificates(">=TLSv1.3")

    def test_client_certificates_tls12(self):
        self.client_certificates("<=TLSv1.2")


@unittest.skipUnless(shutil.which("openssl"), "openssl is not installed")
class OpenSslTest(unittest.TestCase):
    """A server that is OpenSSL and nothing else, TLS from the first byte."""

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="postern-tls-")
        self.addCleanup(shutil.rmtree, self.dir)
        self.ca, self.cert, self.key = certificate(self.dir)

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def serve(self, context):
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)

        def run():
            while True:
                try:
                    connection = listener.accept()[0]
                except OSError:
                    return
                try:
                    with context.wrap_socket(connection, server_side=True) as s:
                        s.sendall(b"220 openssl\r\n")
                        s.recv(1000)
                except OSError:
                    pass
        threading.Thread(target=run, daemon=True).start()
        return listener.getsockname()[1]

    def error(self, context, **keys):
        provider = {"type": "smtp", "host": "localhost", "port": self.serve(context), "tls": "implicit",
                    "tls_ca": self.ca, "from": "gateway@example.com", **keys}
        gateway = Gateway({"provider.office": provider})
        self.addCleanup(gateway.close)
        gateway.start()
        state, error = job_error(gateway)
        self.assertEqual(state, "pending")
        return error

    def context(self, version):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = context.maximum_version = version
        context.load_cert_chain(self.cert, self.key)
        return context

    def test_certificate_demanded(self):
        stray, key, _ = client_certificate(self, "stray", False)
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = self.context(version)
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.ca)
            none = self.error(context)
            old = version == ssl.TLSVersion.TLSv1_2
            self.assertIn("no common parameters (alert 40)" if old else
                          "a client certificate is required (alert 116)", none)
            self.assertIn("our certificate's issuer is unknown (alert 48)",
                          self.error(context, tls_cert=stray, tls_key=key))

    def test_long_chain(self):
        with open(self.cert) as f, open(self.ca) as g, open(self.path("long.pem"), "w") as out:
            out.write(f.read() + g.read() * 180)
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = self.context(version)
            context.load_cert_chain(self.path("long.pem"), self.key)
            self.assertIn("the server's certificates are more than 16 KB", self.error(context))


if __name__ == "__main__":
    unittest.main()
