"""What the real mail servers of the tests share: a directory of their own, Maildirs to look into, an end by process id.
A server has a name, the mechanisms that its AUTH offers, dir, port, tls_port, ca, user, password, start(), pid(),
log_text().
"""
import os
import subprocess
import time


def sudo():
    return [] if os.geteuid() == 0 else ["sudo", "-n"]


def can_be_root():
    if os.geteuid() == 0:
        return True
    try:
        return subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode == 0
    except OSError:  # there is no sudo
        return False


class Server:
    def path(self, *names):
        return os.path.join(self.dir, *names)

    def text_of(self, path):
        return subprocess.run(sudo() + ["cat", path], capture_output=True, text=True, errors="replace").stdout

    def number_in(self, path):
        try:
            return int(self.text_of(path))
        except ValueError:
            return None

    def mails(self, box):
        """The raw mails delivered into user, cc or bcc."""
        out = []
        folder = self.path("mail", box, "new")
        names = subprocess.run(sudo() + ["ls", folder], capture_output=True, text=True).stdout.split()
        for name in sorted(names):
            out.append(subprocess.run(sudo() + ["cat", os.path.join(folder, name)], capture_output=True).stdout)
        return out

    def wait_mails(self, box, count, seconds=30):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            mails = self.mails(box)
            if len(mails) >= count:
                return mails
            time.sleep(0.1)
        raise AssertionError(f"{len(mails)} of {count} mails in {box} after {seconds} s:\n{self.log_text()[-6000:]}")

    def stop(self):
        """Ends the master process; what it started may still be at work."""
        pid = self.pid()
        if not pid:
            return
        subprocess.run(sudo() + ["kill", str(pid)], capture_output=True)
        for _ in range(100):
            if subprocess.run(sudo() + ["kill", "-0", str(pid)], capture_output=True).returncode:
                return
            time.sleep(0.1)
        subprocess.run(sudo() + ["kill", "-9", str(pid)], capture_output=True)

    def close(self):
        self.stop()
        subprocess.run(sudo() + ["rm", "-rf", self.dir])
