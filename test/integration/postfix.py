"""A real Postfix for a test, from Debian's package: ports, queue, mailboxes and passwords of its own in one
directory, TLS and SASL on, started and stopped by its own process id. Needs root (or sudo).
"""
import os
import shutil
import subprocess
import tempfile

from gateway import free_port
from mailserver import Server, can_be_root, sudo
from sink import certificate


def missing():
    """Why Postfix cannot be started here, or None."""
    if not shutil.which("postfix", path="/usr/sbin:/usr/bin:/sbin:/bin"):
        return "postfix is not installed"
    if not can_be_root():
        return "postfix needs root or sudo without a password"
    return None


class Postfix(Server):
    name = "Postfix"
    mechanisms = ("plain", "login", "cram-md5", "scram-sha-256")  # libsasl2-modules has no XOAUTH2

    def __init__(self, user="gateway", password="pass word\\1", chunking=True):
        self.dir = tempfile.mkdtemp(prefix="postern-postfix-")
        os.chmod(self.dir, 0o755)
        self.user, self.password, self.chunking = user, password, chunking
        self.port, self.tls_port = free_port(), free_port()
        self.mail = self.path("mail")
        self.ca, cert, key = certificate(self.dir)
        for name in ("conf", "queue", "data", "mail", "conf/sasl"):
            os.mkdir(self.path(name), 0o755)
        self.configure(cert, key)

    def configure(self, cert, key):
        owner = os.stat(self.path("mail"))
        main = {
            "compatibility_level": "3.6", "queue_directory": self.path("queue"), "data_directory": self.path("data"),
            "myhostname": "mx.example.com", "mydestination": "", "inet_interfaces": "127.0.0.1",
            "inet_protocols": "ipv4", "maillog_file": self.path("maillog"), "maillog_file_prefixes": self.dir,
            "virtual_mailbox_domains": "example.com, xn--bcher-kva.example", "virtual_mailbox_base": self.mail,
            "virtual_mailbox_maps": "inline:{ { user@example.com=user/ } { cc@example.com=cc/ } "
                                    "{ bcc@example.com=bcc/ } }",
            "virtual_uid_maps": f"static:{max(owner.st_uid, 1000)}", "virtual_gid_maps": "static:1000",
            "virtual_minimum_uid": "100", "smtputf8_enable": "yes",
            "smtpd_tls_security_level": "may", "smtpd_tls_chain_files": f"{key}, {cert}",
            "smtpd_tls_auth_only": "yes", "smtpd_sasl_auth_enable": "yes", "smtpd_sasl_type": "cyrus",
            "cyrus_sasl_config_path": self.path("conf", "sasl"), "smtpd_sasl_local_domain": "example.com",
            "smtpd_relay_restrictions": "permit_sasl_authenticated, reject",
            "smtpd_recipient_restrictions": "", "mynetworks": "192.0.2.1/32", "smtpd_tls_loglevel": "1",
            "smtpd_discard_ehlo_keywords": "" if self.chunking else "chunking, silent-discard",
            "alias_maps": "", "alias_database": "", "local_recipient_maps": "",
        }
        with open(self.path("conf", "main.cf"), "w") as f:
            f.writelines(f"{k} = {v}\n" for k, v in main.items())
        services = [f"{self.port} inet n - n - - smtpd",
                    f"{self.tls_port} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes"]
        for name, kind, program, wake, limit in (
                ("cleanup", "unix", "cleanup", "-", "0"), ("qmgr", "unix", "qmgr", "300", "1"),
                ("rewrite", "unix", "trivial-rewrite", "-", "-"), ("bounce", "unix", "bounce", "-", "0"),
                ("defer", "unix", "bounce", "-", "0"), ("trace", "unix", "bounce", "-", "0"),
                ("virtual", "unix", "virtual", "-", "-"), ("error", "unix", "error", "-", "-"),
                ("anvil", "unix", "anvil", "-", "1"), ("proxymap", "unix", "proxymap", "-", "-"),
                ("tlsmgr", "unix", "tlsmgr", "1000?", "1"), ("postlog", "unix-dgram", "postlogd", "-", "1")):
            private = "n" if name in ("cleanup", "qmgr", "postlog") else "y"
            unpriv = "n" if name == "virtual" else "-"
            services.append(f"{name} {kind} {private} {unpriv} n {wake} {limit} {program}")
        with open(self.path("conf", "master.cf"), "w") as f:
            f.write("\n".join(services) + "\n")
        with open(self.path("conf", "sasl", "smtpd.conf"), "w") as f:
            f.write(f"pwcheck_method: auxprop\nauxprop_plugin: sasldb\nmech_list: PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256\n"
                    f"sasldb_path: {self.path('conf', 'sasl', 'db')}\n")
        subprocess.run(["/usr/sbin/saslpasswd2", "-p", "-c", "-f", self.path("conf", "sasl", "db"), "-u", "example.com",
                        self.user],
                       input=self.password, text=True, check=True, capture_output=True)
        os.chmod(self.path("conf", "sasl", "db"), 0o644)

    def postfix(self, word):
        env = dict(os.environ, PATH="/usr/sbin:/usr/bin:/sbin:/bin")
        return subprocess.run(sudo() + ["/usr/sbin/postfix", "-c", self.path("conf"), word], capture_output=True,
                              text=True, env=env)

    def start(self):
        subprocess.run(sudo() + ["chown", "postfix", self.path("data")], check=True)
        subprocess.run(sudo() + ["chown", "1000:1000", self.mail], check=True)
        done = self.postfix("start")
        if done.returncode:
            raise AssertionError(f"postfix start: {done.stdout}{done.stderr}{self.log_text()}")
        return self

    def pid(self):
        return self.number_in(self.path("queue", "pid", "master.pid"))

    def log_text(self):
        return self.text_of(self.path("maillog"))
