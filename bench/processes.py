"""CPU seconds of everything that takes part, read from /proc while it runs: servers' children come and go."""
import os
import re
import threading
from pathlib import Path

from servers import WATCHER

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
SAMPLE_SECONDS = 0.05

# What a backend says in its title, and what the report calls it. The first that matches counts.
ROLES = [
    (rf"postgres: {WATCHER} ", "bench"),
    (r"postgres: walsender ", "walsender"),
    (r"postgres: logical replication worker", "apply worker"),
    (r"postgres: (checkpointer|background writer|walwriter|logical replication launcher|archiver|autovacuum)",
     "background"),
    (r"postgres: parallel worker", "backend"),
    (r"postgres: \S+ \S+ ", "backend"),
]


def read(path):
    try:
        with open(path, "rb") as file:
            return file.read().decode(errors="replace")
    except OSError:
        return ""  # The process ended.


def cpu_seconds(pid):
    """(user, system) of a process, or None where it is gone."""
    fields = read(f"/proc/{pid}/stat").rpartition(") ")[2].split()
    if len(fields) < 15:
        return None
    return int(fields[11]) / TICKS_PER_SECOND, int(fields[12]) / TICKS_PER_SECOND


def children(pid):
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*"):
        found += [int(child) for child in read(task / "children").split()]
    return found


def machine_busy_seconds():
    fields = [int(word) for word in read("/proc/stat").split("\n", maxsplit=1)[0].split()[1:]]
    idle, waiting = fields[3], fields[4]
    return (sum(fields[:8]) - idle - waiting) / TICKS_PER_SECOND


def peak_bytes(pid):
    match = re.search(r"VmHWM:\s+(\d+) kB", read(f"/proc/{pid}/status"))
    return int(match[1]) * 1024 if match else 0


def title_role(title):
    for pattern, role in ROLES:
        if re.match(pattern, title):
            return role
    return "other"


class ProcessWatch:
    """From start() to stop(): CPU seconds per role, the machine's, and the peak memory of watched programs.

    A process that ends in between counts with what it had at the last look.
    """

    def __init__(self, servers):
        self._postmasters = {"source": servers.source.postmaster(), "target": servers.target.postmaster()}
        self._programs = {}
        self._first = {}
        self._last = {}
        self._roles = {}
        self._peak_bytes = 0
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._busy = 0.0

    def start(self):
        self._look()
        self._first = dict(self._last)
        self._busy = machine_busy_seconds()
        self._thread.start()

    def watch(self, pid, role, memory_counts=True):
        """A program, with all that it starts."""
        with self._lock:
            self._programs[pid] = (role, memory_counts)

    def stop(self):
        busy = machine_busy_seconds() - self._busy
        self._look()
        self._ended.set()
        self._thread.join()
        return self._result(busy)

    def _sample(self):
        while not self._ended.wait(SAMPLE_SECONDS):
            self._look()

    def _look(self):
        with self._lock:
            for side, postmaster in self._postmasters.items():
                for pid in children(postmaster):
                    self._note(pid, side)
            pending = list(self._programs.items())
            while pending:
                pid, (role, memory_counts) = pending.pop()
                self._note(pid, None, role)
                if memory_counts:
                    self._peak_bytes = max(self._peak_bytes, peak_bytes(pid))
                pending += [(child, (role, memory_counts)) for child in children(pid)]

    def _note(self, pid, side, role=None):
        seconds = cpu_seconds(pid)
        if seconds is None:
            return
        self._last[pid] = seconds
        # A new backend shows its final title only after it has authenticated.
        known = self._roles.get(pid)
        if known is None or known.endswith("other"):
            self._roles[pid] = role or f"{side} {title_role(read(f'/proc/{pid}/cmdline'))}"

    def _result(self, busy):
        sums = {}
        for pid, (user, system) in self._last.items():
            first_user, first_system = self._first.get(pid, (0.0, 0.0))
            total = sums.setdefault(self._roles[pid], [0.0, 0.0])
            total[0] += user - first_user
            total[1] += system - first_system
        cpu = {role: {"user": round(user, 2), "system": round(system, 2)}
               for role, (user, system) in sums.items() if user + system >= 0.005}
        return {"cpu": cpu, "busy": round(busy, 2), "peak_bytes": self._peak_bytes}
