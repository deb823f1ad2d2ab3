"""The two PostgreSQL clusters of a benchmark: loopback only, owned by an unprivileged user, equal settings."""
import fcntl
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

# The benchmark's own sessions use a role of their own, so that their processes can be told from a contestant's.
WATCHER = "bench_watcher"
CONTESTANT = "postgres"
HOST = "127.0.0.1"

SETTINGS = f"""
listen_addresses = '{HOST}'
unix_socket_directories = ''
wal_level = logical
max_replication_slots = 100
max_wal_senders = 30
max_worker_processes = 20
max_logical_replication_workers = 12
max_sync_workers_per_subscription = 2
max_connections = 100
shared_buffers = 1GB
maintenance_work_mem = 512MB
work_mem = 32MB
max_wal_size = 8GB
min_wal_size = 2GB
checkpoint_timeout = 30min
fsync = on
synchronous_commit = on
full_page_writes = on
wal_compression = off
autovacuum = off
jit = off
log_min_messages = warning
# A subscription made soon after another would wait up to 5 s for its worker: that is not what is measured.
wal_retrieve_retry_interval = 100ms
"""


class BenchError(Exception):
    """What the benchmark cannot go on without, in words for its user."""


def run(command, **options):
    """A program that has to succeed; gives its stdout."""
    result = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, check=False, **options)
    if result.returncode != 0:
        raise BenchError(f"{Path(command[0]).name} ended with {result.returncode}: {result.stderr.strip()}")
    return result.stdout


def free_port():
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return listener.getsockname()[1]


class Server:
    """One cluster. Made where there is none yet; every statement goes through a psql of its own."""

    def __init__(self, binaries, directory, user):
        self.binaries = Path(binaries)
        self.directory = Path(directory)
        self.port = None
        self._owner = {"user": user, "group": user, "extra_groups": []} if os.geteuid() == 0 else {}
        self._user = user

    def start(self):
        if not (self.directory / "PG_VERSION").exists():
            self._create()
        elif self._pg_ctl("status", check=False) == 0:
            self._pg_ctl("stop", "-m", "fast", "-w")  # Left over by a benchmark that was killed.
        (self.directory / "bench.conf").write_text(SETTINGS, encoding="utf-8")
        self.port = free_port()
        self._pg_ctl("start", "-w", "-t", "120", "-l", self.directory / "server.log",
                     "-o", f"-p {self.port}")
        self.sql("postgres", f"""DO $$ BEGIN
            IF to_regrole('{WATCHER}') IS NULL THEN CREATE ROLE {WATCHER} SUPERUSER LOGIN; END IF; END $$""",
                 role=CONTESTANT)

    def stop(self):
        if self.port is not None:
            self._pg_ctl("stop", "-m", "fast", "-w", "-t", "120")
            self.port = None

    def _create(self):
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o700)
        if self._owner:
            shutil.chown(self.directory, self._user, self._user)
        run([self.binaries / "initdb", "-D", self.directory, "-U", CONTESTANT, "-A", "trust", "-E", "UTF8",
             "--locale=C.UTF-8", "-k"], cwd="/", **self._owner)
        with open(self.directory / "postgresql.conf", "a", encoding="utf-8") as conf:
            conf.write("include 'bench.conf'\n")

    def _pg_ctl(self, *arguments, check=True):
        # The server keeps pg_ctl's stdout, so that is not a pipe.
        result = subprocess.run([str(self.binaries / "pg_ctl"), "-s", "-D", str(self.directory),
                                 *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL, cwd="/", check=False, **self._owner)
        if check and result.returncode != 0:
            raise BenchError(f"pg_ctl {arguments[0]} failed: see {self.directory}/server.log")
        return result.returncode

    def postmaster(self):
        return int((self.directory / "postmaster.pid").read_text(encoding="utf-8").splitlines()[0])

    def conninfo(self, database, **more):
        fields = {"host": HOST, "port": self.port, "user": CONTESTANT, "dbname": database, **more}
        return " ".join(f"{name}={value}" for name, value in fields.items())

    def uri(self, database):
        return f"postgres://{CONTESTANT}@{HOST}:{self.port}/{database}"

    def psql(self, database, role=WATCHER):
        """The command line of a psql on this server."""
        return [str(self.binaries / "psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1",
                "-d", self.conninfo(database, user=role, connect_timeout=10)]

    def sql(self, database, *statements, role=WATCHER, options=""):
        """Runs each statement in a transaction of its own; gives the lines of all answers."""
        command = self.psql(database, role)
        for statement in statements:
            command += ["-c", statement]
        environment = {**os.environ, "PGOPTIONS": f"-c client_min_messages=warning {options}"}
        return run(command, env=environment).splitlines()

    def value(self, database, statement):
        lines = self.sql(database, statement)
        return lines[0] if lines else None

    def has_database(self, name):
        return self.value("postgres", f"SELECT count(*) FROM pg_database WHERE datname = '{name}'") == "1"

    def drop_database(self, name):
        self.sql("postgres", f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def copy_database(self, template, name):
        self.drop_database(name)
        self.sql("postgres", f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")


class ServerPair:
    """A source and a target. In a directory of the user's they are kept for the next time, else they go.

    Each backlog waits in a source of its own: a walsender decodes all databases' WAL, so behind the end of one
    backlog it would go on with the next one's, and take the CPU from who still applies what was read.
    """

    def __init__(self, binaries, directory=None, user="postgres"):
        self.kept = directory is not None
        self.directory = Path(directory or tempfile.mkdtemp(prefix="walferry-bench-")).resolve()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o755)
        self._lock = open(self.directory / "lock", "w", encoding="utf-8")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BenchError(f"another benchmark is running in {self.directory}") from None
        self._binaries = binaries
        self._user = user
        self.source = None  # Until one is used.
        self.target = Server(binaries, self.directory / "target", user)

    def __enter__(self):
        try:
            self.target.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def use_source(self, name):
        """Starts the source of this name, which is made where there is none, in place of the one before."""
        if self.source is not None:
            self.source.stop()
        self.source = Server(self._binaries, self.directory / "sources" / name, self._user)
        self.source.start()

    def __exit__(self, *_):
        for server in (self.source, self.target):
            if server is not None:
                server.stop()
        self._lock.close()
        if not self.kept:
            shutil.rmtree(self.directory, ignore_errors=True)
