"""A real Exim for a test, from Debian's package as scripts/setup unpacked it (installed it would take Postfix's place):
ports, spool, log, mailboxes and passwords of its own in one directory, TLS and AUTH on, started and stopped by its own
process id. Needs root (or sudo), and the user that Debian's build knows.
"""
import os
import pwd
import re
import shutil
import subprocess
import tempfile
import time

from gateway import free_port
from mailserver import Server, can_be_root, sudo
from sink import certificate

USER = "Debian-exim"


def program():
    """The unpacked program, or None."""
    cache = os.environ.get("POSTERN_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "postern")
    found = os.path.join(cache, "deb", "exim4-daemon-light", "usr", "sbin", "exim4")
    return found if os.access(found, os.X_OK) else None


def missing():
    """Why Exim cannot be started here, or None."""
    if not program():
        return "exim is not unpacked: scripts/setup test"
    try:
        pwd.getpwnam(USER)
    except KeyError:
        return f"there is no user {USER}: scripts/setup test"
    if not can_be_root():
        return "exim needs root or sudo without a password"
    return None


CONFIG = r"""
exim_path = @DIR@/exim4
spool_directory = @DIR@/spool
log_file_path = @DIR@/log/%slog
primary_hostname = mx.example.com
deliver_drop_privilege = true
local_interfaces = 127.0.0.1
daemon_smtp_ports = @PORT@ : @TLS_PORT@
tls_on_connect_ports = @TLS_PORT@
tls_advertise_hosts = *
tls_certificate = @CERT@
tls_privatekey = @KEY@
auth_advertise_hosts = ${if eq{$tls_in_cipher}{}{}{*}}
smtputf8_advertise_hosts = *
dsn_advertise_hosts = *
chunking_advertise_hosts = @CHUNKING@
message_size_limit = 20M
log_selector = +pipelining +tls_cipher +received_recipients +smtp_protocol_error +smtp_syntax_error +millisec
acl_smtp_rcpt = rcpt
keep_environment =
host_lookup =
rfc1413_hosts =
smtp_accept_max = 100
smtp_accept_max_per_connection = 1000
smtp_accept_queue_per_connection = 0

begin acl
rcpt:
  deny !authenticated = *
       message = authentication first
  accept domains = example.com
         verify = recipient
  deny message = no such domain

begin routers
box:
  driver = accept
  local_parts = user : cc : bcc
  transport = maildir

begin transports
maildir:
  driver = appendfile
  directory = @DIR@/mail/$local_part_data
  maildir_format
  user = Debian-exim

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${if and{{eq{$auth2}{@USER@}}{eq{$auth3}{@PASSWORD@}}}}
  server_set_id = $auth2
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = <| Username: | Password:
  server_condition = ${if and{{eq{$auth1}{@USER@}}{eq{$auth2}{@PASSWORD@}}}}
  server_set_id = $auth1
cram:
  driver = cram_md5
  public_name = CRAM-MD5
  server_secret = ${if eq{$auth1}{@USER@}{@PASSWORD@}fail}
  server_set_id = $auth1
xoauth2:
  driver = plaintext
  public_name = XOAUTH2
  server_prompts = :
  server_condition = ${if eq{$auth1}{user=@USER@\x01auth=Bearer @PASSWORD@\x01\x01}}
  server_set_id = @USER@
"""


class Exim(Server):
    name = "Exim"
    mechanisms = ("plain", "login", "cram-md5", "xoauth2")  # the small build has no driver for SCRAM

    def __init__(self, user="gateway", password="pass word\\1", chunking=True):
        self.dir = tempfile.mkdtemp(prefix="postern-exim-")
        os.chmod(self.dir, 0o755)
        self.user, self.password = user, password
        self.port, self.tls_port = free_port(), free_port()
        self.ca, cert, key = certificate(self.dir)
        os.chmod(key, 0o644)
        shutil.copy(program(), self.path("exim4"))  # to where its user may go, and without the bit that makes it root
        os.chmod(self.path("exim4"), 0o755)
        for name in ("spool", "log", "mail"):
            os.mkdir(self.path(name), 0o755)
        escaped = password.replace("\\", "\\\\").replace("$", "\\$")
        text = CONFIG
        for word, value in (("DIR", self.dir), ("PORT", self.port), ("TLS_PORT", self.tls_port), ("CERT", cert),
                            ("KEY", key), ("CHUNKING", "*" if chunking else ""), ("USER", user), ("PASSWORD", escaped)):
            text = text.replace(f"@{word}@", str(value))
        with open(self.path("conf"), "w") as f:
            f.write(text)

    def start(self):
        subprocess.run(sudo() + ["chown", "-R", f"{USER}:", self.path("spool"), self.path("log"), self.path("mail")],
                       check=True)
        subprocess.run(sudo() + ["chown", "root:", self.path("conf")], check=True)
        done = subprocess.run(sudo() + [self.path("exim4"), "-C", self.path("conf"), "-bd", "-oP", self.path("pid")],
                              capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise AssertionError(f"exim: {done.stdout}{done.stderr}{self.log_text()}")
        return self

    def pid(self):
        return self.number_in(self.path("pid"))

    def log_text(self):
        return self.text_of(self.path("log", "mainlog"))

    def stop(self):
        """A delivery that is not done yet would make its log anew behind the end of the test."""
        super().stop()
        own = f"lrwx.* -> {self.path('exim4')}"
        for _ in range(100):
            links = subprocess.run(sudo() + ["sh", "-c", "ls -l /proc/[0-9]*/exe 2>&1"], capture_output=True, text=True)
            if not re.search(own, links.stdout):
                return
            time.sleep(0.1)
