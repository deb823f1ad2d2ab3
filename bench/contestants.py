"""Who takes part in streaming. Each is started with a prepared slot, and ended when the last change is visible."""
import signal
import subprocess
import sys
from pathlib import Path

from servers import BenchError
from sources import PUBLICATION

END_SECONDS = 60


class Contestant:
    """start() returns at once; everything else is called afterwards, on the same thread."""

    writes = True  # Into the target.
    # Until it is ended: the arrival of the last change is what counts. Otherwise it ends by itself, and this often
    # is looked whether it has.
    goes_on = True
    poll_seconds = 0.005

    def __init__(self, name):
        self.name = name

    def prepare(self, run):
        """What does not count."""

    def start(self, run):
        raise NotImplementedError

    def failure(self, run):
        """Words where it cannot get any further, None while it runs."""
        raise NotImplementedError

    def finished(self, run):
        """Whether it ended by itself, and well."""
        raise NotImplementedError

    def end(self, run):
        """After the last change was seen. Raises BenchError where it did not end well."""
        raise NotImplementedError

    def abandon(self, run):
        """Whatever state it is in, it must be gone afterwards."""
        raise NotImplementedError


class Program(Contestant):
    """A contestant that is a program of its own; what it says lands in a file of the run's."""

    def __init__(self, name, role):
        super().__init__(name)
        self._role = role
        self._process = None

    def command(self, run):
        raise NotImplementedError

    def start(self, run):
        with open(run.log, "w", encoding="utf-8") as log:
            self._process = subprocess.Popen([str(part) for part in self.command(run)], stdin=subprocess.DEVNULL,
                                             stdout=log, stderr=log, cwd=run.folder)
        run.watch.watch(self._process.pid, self._role)

    def _last_words(self, run):
        return run.log.read_text(encoding="utf-8", errors="replace").strip()[-600:]

    def failure(self, run):
        code = self._process.poll()
        if code is None or (code == 0 and not self.goes_on):
            return None
        return f"ended with exit code {code}: {self._last_words(run)}"

    def finished(self, run):
        return self._process.poll() == 0

    def end(self, run):
        if self.goes_on:
            self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            raise BenchError(f"did not end within {END_SECONDS} s") from None
        if code != 0:
            raise BenchError(f"ended with exit code {code}: {self._last_words(run)}")

    def abandon(self, run):
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


class Walferry(Program):
    def __init__(self, name, program, arguments):
        super().__init__(name, "walferry")
        self._program = program
        self._arguments = arguments

    def target(self, run):
        return run.target_conninfo()

    def command(self, run):
        return [self._program, "--source", run.servers.source.conninfo(run.source.database),
                "--target", self.target(run), "--work-dir", run.folder / "work",
                "stream", "--slot", run.slot, "--publication", PUBLICATION, *self._arguments]


class FarWalferry(Walferry):
    """walferry with the target a round trip away."""

    def __init__(self, name, program, arguments, milliseconds):
        super().__init__(name, program, arguments)
        self._milliseconds = milliseconds
        self._proxy = None
        self._port = None

    def prepare(self, run):
        self._proxy = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("delay_proxy.py")), str(run.servers.target.port),
             str(self._milliseconds)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self._port = int(self._proxy.stdout.readline().split()[-1])
        run.watch.watch(self._proxy.pid, "delay proxy", memory_counts=False)

    def target(self, run):
        return run.target_conninfo(port=self._port)

    def abandon(self, run):
        super().abandon(run)
        if self._proxy is not None:
            self._proxy.kill()
            self._proxy.wait()
            self._proxy.stdout.close()


class Subscription(Contestant):
    """The built-in one."""

    NAME = "bench"

    def __init__(self, name, streaming):
        super().__init__(name)
        self._streaming = streaming

    def start(self, run):
        run.servers.target.sql(run.target_database, f"""CREATE SUBSCRIPTION {self.NAME}
            CONNECTION '{run.servers.source.conninfo(run.source.database)}' PUBLICATION {PUBLICATION}
            WITH (copy_data = false, create_slot = false, slot_name = '{run.slot}',
                  streaming = {self._streaming})""")

    def failure(self, run):
        return None  # Its worker tries again for ever; the run's time limit ends that.

    def finished(self, run):
        return False

    def end(self, run):
        self.abandon(run)

    def abandon(self, run):
        target = run.servers.target
        if target.value(run.target_database, "SELECT count(*) FROM pg_subscription") != "0":
            target.sql(run.target_database, f"ALTER SUBSCRIPTION {self.NAME} DISABLE",
                       f"ALTER SUBSCRIPTION {self.NAME} SET (slot_name = NONE)",
                       f"DROP SUBSCRIPTION {self.NAME}")


class Receiver(Program):
    """pg_recvlogical into nowhere: reads and drops."""

    writes = False
    goes_on = False

    def __init__(self, name):
        super().__init__(name, "receiver")

    def command(self, run):
        return [run.servers.source.binaries / "pg_recvlogical", "--start", "--no-loop", "-f", "/dev/null",
                "-d", run.servers.source.conninfo(run.source.database), "-S", run.slot,
                "-E", run.source.end_lsn, "-o", "proto_version=1", "-o", f"publication_names={PUBLICATION}"]


class Ceiling(Program):
    """walferry's own way of receiving and decoding, whose sink drops everything: as fast as it could ever be."""

    writes = False
    goes_on = False

    def __init__(self, name, program):
        super().__init__(name, "receiver")
        self._program = program

    def command(self, run):
        return [self._program, run.servers.source.conninfo(run.source.database), run.slot, PUBLICATION,
                run.source.end_lsn]
