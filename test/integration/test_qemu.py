"""One job end to end with the products for other processors, under qemu-user, into the strict sink and over TLS."""
import os
import shutil
import ssl
import tempfile
import unittest

from gateway import TREE, Gateway
from sink import Sink, certificate

ARCHES = {"aarch64": "qemu-aarch64", "armv7": "qemu-arm", "mips": "qemu-mips", "riscv64": "qemu-riscv64"}


class QemuTest(unittest.TestCase):
    def end_to_end(self, arch):
        binary = os.path.join(TREE, "build", f"{arch}-linux-musl", "postern")
        if not os.path.exists(binary):
            self.skipTest(f"{binary} is not built")
        if not shutil.which(ARCHES[arch]):
            self.skipTest(f"{ARCHES[arch]} is not installed")
        folder = tempfile.mkdtemp(prefix="postern-")
        self.addCleanup(shutil.rmtree, folder)
        ca, cert, key = certificate(folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        sink = Sink(tls=context)
        self.addCleanup(sink.close)
        g = Gateway({"provider.default": {"type": "smtp", "host": "localhost", "port": sink.port, "tls": "starttls",
                                          "tls_ca": ca, "from": "gw@example.com"}}, prefix=[ARCHES[arch], binary])
        self.addCleanup(g.close)
        g.start()
        done = g.cli("send", "--to", "user@example.com", "--subject", f"from {arch}", "--text", "ü\n.\n", "--wait")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr + g.log_text())
        mail = sink.mails[0].parsed()
        self.assertEqual((mail["Subject"], mail.get_content()), (f"from {arch}", "ü\r\n.\r\n"))  # base64
        self.assertEqual(sink.violations, [])
        self.assertEqual(g.stop(30), 0)


for name in ARCHES:
    setattr(QemuTest, f"test_{name}", lambda self, name=name: self.end_to_end(name))

if __name__ == "__main__":
    unittest.main()
