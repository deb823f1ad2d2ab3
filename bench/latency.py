"""Lone transactions at rest: how long after the source said "committed" can the row be seen on the target."""
import math
import random
import statistics
import subprocess
import time
from dataclasses import dataclass, field

from race import Run, TARGET_DATABASE, SLOT
from processes import ProcessWatch
from servers import BenchError
from sources import PUBLICATION, Source, drop_slot
from workloads import MARKER, make_template

TEMPLATE = "t_wide_empty"
DATABASE = "latency"
PAUSE_SECONDS = (0.020, 0.050)
WARM_UP = 20
POLL_SECONDS = 0.001
SEED = 7


class Writer:
    """One session on the source that stays."""

    def __init__(self, server, database):
        self._process = subprocess.Popen(server.psql(database), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=subprocess.STDOUT, text=True, bufsize=1)

    def commit(self, number):
        """Writes one row; gives the time of day at which the server said that it is committed."""
        self._process.stdin.write(f"INSERT INTO {MARKER} VALUES ({number}, 'lone') RETURNING id;\n")
        answer = self._process.stdout.readline().strip()
        if answer != str(number):
            raise BenchError(f"the source answered {answer}")
        return time.time()

    def close(self):
        self._process.communicate()


class Seer:
    """A session on the target that writes down when each row could be seen first, without holding a snapshot."""

    def __init__(self, server, database, count):
        self._server = server
        self._database = database
        server.sql(database, "CREATE UNLOGGED TABLE bench_seen (id int, at timestamptz)")
        watch = f"""DO $$ BEGIN
            FOR number IN 1..{count} LOOP
              WHILE NOT EXISTS (SELECT FROM {MARKER} WHERE id = number) LOOP
                COMMIT; PERFORM pg_sleep({POLL_SECONDS}); COMMIT;
              END LOOP;
              INSERT INTO bench_seen VALUES (number, clock_timestamp());
              COMMIT;
            END LOOP; END $$"""
        self._process = subprocess.Popen(
            [*server.psql(database), "-c", "SET synchronous_commit = off", "-c", watch,
             "-c", "SELECT extract(epoch FROM at) FROM bench_seen ORDER BY id"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def wait_for_first(self, contestant, run, deadline):
        while self._server.value(self._database, "SELECT count(*) FROM bench_seen") == "0":
            failure = contestant.failure(run)
            if failure or time.monotonic() > deadline:
                raise BenchError(failure or "not even one row arrived in time")
            time.sleep(0.05)

    def times(self, timeout):
        try:
            lines = self._process.communicate(timeout=timeout)[0].splitlines()
        except subprocess.TimeoutExpired:
            raise BenchError("not every row arrived in time") from None
        return [float(line) for line in lines]

    def close(self):
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


@dataclass
class Latency:
    milliseconds: list = field(default_factory=list)
    cpu: dict = field(default_factory=dict)
    error: object = None

    def headline(self):
        return f"median {statistics.median(self.milliseconds):.1f} ms"


def percentile(values, share):
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def prepare(servers):
    """A source and a target at rest, with a slot at the end of the source's WAL."""
    source, target = servers.source, servers.target
    drop_slot(source, SLOT)
    for server, database in ((source, DATABASE), (target, TARGET_DATABASE)):
        make_template(server, TEMPLATE)
        server.copy_database(TEMPLATE, database)
        server.sql("postgres", "CHECKPOINT")
    source.sql(DATABASE, f"CREATE PUBLICATION {PUBLICATION} FOR ALL TABLES",
               f"SELECT pg_create_logical_replication_slot('{SLOT}', 'pgoutput')")
    return Source(DATABASE, TEMPLATE, SLOT, "", 0, 0, 0, [])


def measure(servers, contestant, count, time_limit):
    source = prepare(servers)
    folder = servers.directory / "run"
    folder.mkdir(exist_ok=True)
    run = Run(servers, source, ProcessWatch(servers), folder)
    result = Latency()
    total = WARM_UP + count
    seer = Seer(servers.target, TARGET_DATABASE, total)
    writer = Writer(servers.source, DATABASE)
    pauses = random.Random(SEED)
    try:
        contestant.prepare(run)
        contestant.start(run)
        committed = [writer.commit(1)]
        seer.wait_for_first(contestant, run, time.monotonic() + time_limit)
        run.watch.start()
        for number in range(2, total + 1):
            committed.append(writer.commit(number))
            time.sleep(pauses.uniform(*PAUSE_SECONDS))
        seen = seer.times(time_limit)
        result.cpu = run.watch.stop()["cpu"]
        contestant.end(run)
        result.milliseconds = [(at - before) * 1000 for before, at in zip(committed, seen)][WARM_UP:]
    except BenchError as error:
        result.error = str(error)
    finally:
        writer.close()
        contestant.abandon(run)
        seer.close()
        drop_slot(servers.source, SLOT)
    return result


def of_runs(results, of_one, of_all):
    return round(of_all(of_one(result.milliseconds) for result in results), 2) if results else None


def summarize(results):
    good = [result for result in results if result.milliseconds]
    return {
        "median_ms": of_runs(good, statistics.median, statistics.median),
        "p99_ms": of_runs(good, lambda milliseconds: percentile(milliseconds, 0.99), statistics.median),
        "max_ms": of_runs(good, max, max),
        "transactions": sum(len(r.milliseconds) for r in good),
        "cpu_s": good[0].cpu if good else {},
        "errors": [result.error for result in results if result.error],
    }
