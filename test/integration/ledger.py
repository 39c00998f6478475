"""The ledger that stands outside the gateway: what was about to be submitted, what was answered with yes.

Its rule is the promise: whatever was answered yes arrives at the sink; what arrives twice was on its way when the
power went. The ledger's process is never the one that is killed.
"""
import collections
import threading


class Ledger:
    def __init__(self):
        self.lock = threading.Lock()
        self.begun, self.accepted = set(), set()
        self.refused = collections.Counter()

    def begin(self, key):
        with self.lock:
            self.begun.add(key)

    def accept(self, key):
        with self.lock:
            self.accepted.add(key)

    def refuse(self, why):
        with self.lock:
            self.refused[why] += 1

    def judge(self, arrived):
        """arrived: key -> times. Returns (lost, doubled, strangers)."""
        lost = sorted(self.accepted - set(arrived))
        doubled = {k: n for k, n in arrived.items() if n > 1}
        strangers = sorted(set(arrived) - self.begun)
        return lost, doubled, strangers
