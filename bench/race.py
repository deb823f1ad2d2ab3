"""One run: a contestant, a workload, a fresh copy of the slot and of the target, a stopwatch."""
import os
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from processes import ProcessWatch
from servers import BenchError
from sources import contents, copy_slot, drop_slot
from workloads import MARKER

TARGET_DATABASE = "bench_target"
SLOT = "bench_run"
POLL_SECONDS = 0.01


@dataclass
class Run:
    servers: object
    source: object
    watch: ProcessWatch
    folder: Path
    slot: str = SLOT
    target_database: str = TARGET_DATABASE
    log: Path = field(init=False)

    def __post_init__(self):
        self.log = self.folder / "log"

    def target_conninfo(self, **more):
        return self.servers.target.conninfo(self.target_database, **more)


@dataclass
class Result:
    """Of one run. `error` is None where it ended well and both sides were equal."""
    seconds: float = 0.0
    cpu: dict = field(default_factory=dict)
    busy: float = 0.0
    peak_bytes: int = 0
    equal: object = None  # None: nothing to compare.
    error: object = None

    def headline(self):
        return f"{self.seconds:.2f} s"


class MarkerWatch:
    """Waits inside the target for the last transaction, with pauses and without an open snapshot in them."""

    def __init__(self, server, database):
        wait = f"""DO $$ BEGIN
            WHILE NOT EXISTS (SELECT FROM {MARKER}) LOOP
              COMMIT; PERFORM pg_sleep({POLL_SECONDS}); COMMIT;
            END LOOP; END $$"""
        self._process = subprocess.Popen(
            [*server.psql(database), "-c", "SELECT 'ready'", "-c", wait,
             "-c", "SELECT extract(epoch FROM clock_timestamp())"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        if self._process.stdout.readline().strip() != "ready":
            raise BenchError("cannot watch the target")

    def seen_at(self, timeout):
        """The time of day at which the marker was there, or None where that is later than the timeout."""
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        if self._process.returncode != 0:
            raise BenchError("lost the connection to the target while waiting")
        return float(self._process.stdout.readline())

    def close(self):
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._process.stdout.close()


def wait_for_marker(contestant, run, marker, deadline):
    while time.monotonic() < deadline:
        seen = marker.seen_at(0.2)
        if seen is not None:
            return seen
        failure = contestant.failure(run)
        if failure:
            raise BenchError(failure)
    raise BenchError("the last change did not arrive in time")


def wait_for_end(contestant, run, deadline):
    while time.monotonic() < deadline:
        if contestant.finished(run):
            return time.time()
        failure = contestant.failure(run)
        if failure:
            raise BenchError(failure)
        time.sleep(contestant.poll_seconds)
    raise BenchError("did not end in time")


class Race:
    """Measures one contestant after the other on a pair of servers."""

    def __init__(self, servers, time_limit, look=contents):
        """look: gives what has to be equal on both sides, from a server and a database."""
        self._servers = servers
        self._time_limit = time_limit
        self._look = look
        self._folder = servers.directory / "run"

    def measure(self, contestant, source):
        """Never raises for what a contestant does: that is in the result."""
        run = self._fresh_run(contestant, source)
        result = Result()
        try:
            contestant.prepare(run)
            self._time(contestant, run, result)
            contestant.end(run)
            if contestant.writes:
                result.equal = self._look(self._servers.target, TARGET_DATABASE) == source.contents
                if not result.equal:
                    result.error = "the contents differ"
        except BenchError as error:
            result.error = str(error)
        finally:
            contestant.abandon(run)
            drop_slot(self._servers.source, SLOT)
        return result

    def _fresh_run(self, contestant, source):
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir()
        if contestant.writes:
            self._servers.target.copy_database(source.template, TARGET_DATABASE)
        if source.slot:
            copy_slot(self._servers.source, source, SLOT)
        for server in (self._servers.source, self._servers.target):
            server.sql("postgres", "CHECKPOINT")
        os.sync()
        return Run(self._servers, source, ProcessWatch(self._servers), self._folder)

    def _time(self, contestant, run, result):
        marker = MarkerWatch(self._servers.target, TARGET_DATABASE) if contestant.goes_on else None
        run.watch.start()
        try:
            began = time.time()
            deadline = time.monotonic() + self._time_limit
            contestant.start(run)
            ended = (wait_for_marker(contestant, run, marker, deadline) if marker
                     else wait_for_end(contestant, run, deadline))
            result.seconds = round(ended - began, 3)
        finally:
            measured = run.watch.stop()
            result.cpu, result.busy, result.peak_bytes = (
                measured["cpu"], measured["busy"], measured["peak_bytes"])
            if marker:
                marker.close()
