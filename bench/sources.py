"""The prepared backlogs: a source database per workload whose changes wait behind a slot, made once and kept."""
import json
from dataclasses import asdict, dataclass

from servers import BenchError
from workloads import MARKER, Client, make_template

PUBLICATION = "bench"
# One line per table that does not depend on the order of rows. Every column counts, the times too.
CONTENTS = """SELECT coalesce(string_agg(format(
    'SELECT %L || count(*) || '' rows, '' || coalesce(sum(hashtextextended(%I::text, 0)), 0) FROM %I',
    relname || ': ', relname, relname), ' UNION ALL '), 'SELECT ''''')
  FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"""


def contents(server, database):
    return sorted(server.sql(database, server.value(database, CONTENTS)))


@dataclass
class Source:
    """A database with its backlog. `slot` is copied for each run and never read itself."""
    database: str
    template: str
    slot: str
    end_lsn: str  # After everything but the marker, which is the last transaction.
    changes: int
    transactions: int
    wal_bytes: int
    contents: list


class SourceStore:
    """Keeps what was made: database and slot in a cluster, the facts in a file beside it."""

    def __init__(self, servers, say):
        self._servers = servers
        self._folder = servers.directory / "sources"
        self._say = say

    def get(self, workload, scale):
        name = f"{workload.name}_{scale}"
        facts = self._folder / f"{name}.json"
        self._servers.use_source(name)
        slot_there = self._servers.source.value(
            "postgres", f"SELECT count(*) FROM pg_replication_slots WHERE slot_name = '{name}'") == "1"
        if facts.exists() and slot_there:
            source = Source(**json.loads(facts.read_text(encoding="utf-8")))
        else:
            facts.unlink(missing_ok=True)
            source = self._make(workload, scale, name)
            facts.write_text(json.dumps(asdict(source), indent=2), encoding="utf-8")
        make_template(self._servers.target, workload.template)
        return source

    def _make(self, workload, scale, name):
        server = self._servers.source
        self._say(f"making {workload.name} at scale {scale} ...")
        make_template(server, workload.template)
        drop_slot(server, name)
        server.copy_database(workload.template, name)
        server.sql(name, f"CREATE PUBLICATION {PUBLICATION} FOR ALL TABLES",
                   f"SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')")
        begin_lsn = server.value(name, "SELECT pg_current_wal_insert_lsn()")
        before = self._written(name)
        workload.generate(Client(server, name, scale))
        end_lsn = server.value(name, "SELECT pg_current_wal_insert_lsn()")
        server.sql(name, f"INSERT INTO {MARKER} VALUES (1, 'end')")
        server.sql(name, "SELECT pg_switch_wal()")
        changes, transactions = (after - b for after, b in zip(self._written(name), before))
        wal_bytes = int(server.value(name, f"SELECT pg_wal_lsn_diff('{end_lsn}', '{begin_lsn}')::bigint"))
        return Source(name, workload.template, name, end_lsn, changes, transactions, wal_bytes,
                      contents(server, name))

    def _written(self, database):
        """Changes and transactions so far; a session reports its own when it ends."""
        line = self._servers.source.value(database, """SELECT
            (SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0) FROM pg_stat_user_tables) || ' ' ||
            (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database())""")
        return tuple(int(word) for word in line.split())


def drop_slot(server, slot):
    """Also one that a walsender has just let go of or is about to."""
    server.sql("postgres", f"""DO $$ BEGIN
      FOR attempt IN 1..100 LOOP
        BEGIN
          PERFORM pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '{slot}';
          EXIT;
        EXCEPTION WHEN object_in_use THEN
          PERFORM pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = '{slot}';
          PERFORM pg_sleep(0.1);
        END;
      END LOOP; END $$""")
    if server.value("postgres", f"SELECT count(*) FROM pg_replication_slots WHERE slot_name = '{slot}'") != "0":
        raise BenchError(f"slot {slot} cannot be dropped")


def copy_slot(server, source, copy):
    drop_slot(server, copy)
    server.sql(source.database, f"SELECT pg_copy_logical_replication_slot('{source.slot}', '{copy}')")
