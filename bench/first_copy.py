"""The first copy of a database: two large tables, two hundred small ones, with their indexes."""
import json
import shlex
from dataclasses import asdict

from contestants import Program, Subscription
from servers import CONTESTANT, run as run_program
from sources import PUBLICATION, Source, contents, drop_slot
from workloads import WIDE_TABLE, PAST, Client, insert_wide

JOBS = 2
ACCOUNTS_SCALE = 100
WIDE_ROWS = 2000000
SMALL_TABLES = f"""DO $$ BEGIN FOR i IN 1..200 LOOP
    EXECUTE format('CREATE TABLE small_%s (id int PRIMARY KEY, t text)', i);
    EXECUTE format('INSERT INTO small_%s SELECT n, ''row '' || n FROM generate_series(1, 100) n', i);
  END LOOP; END $$"""
# How much faster walferry has to be than each.
AT_LEAST = {"pgcopydb": 1.0, "dump": 1.3, "table_sync": 1.45}


def look(server, database):
    """Rows, and valid indexes and constraints."""
    return contents(server, database) + sorted(server.sql(
        database,
        """SELECT pg_get_indexdef(indexrelid) || ' ' || indisvalid FROM pg_index
           JOIN pg_class ON pg_class.oid = indrelid WHERE relnamespace = 'public'::regnamespace""",
        """SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) || ' ' || convalidated
           FROM pg_constraint WHERE connamespace = 'public'::regnamespace"""))


def source(servers, scale, say):
    """Makes the database where it is not there yet."""
    name = f"first_copy_{scale}"
    servers.use_source(name)
    server = servers.source
    facts = servers.directory / "sources" / f"{name}.json"
    if not (facts.exists() and server.has_database(name)):
        say(f"making the database of the first copy at scale {scale} ...")
        facts.unlink(missing_ok=True)
        server.drop_database(name)
        server.sql("postgres", f"CREATE DATABASE {name}")
        client = Client(server, name, scale)
        client.pgbench("-q", "-i", "-I", "dtGp", "-s", client.scaled(ACCOUNTS_SCALE))
        server.sql(name, WIDE_TABLE, insert_wide(f"generate_series(1, {client.scaled(WIDE_ROWS)}) n", PAST),
                   "CREATE INDEX ON wide (created)", "CREATE INDEX ON wide (name)", SMALL_TABLES,
                   f"CREATE PUBLICATION {PUBLICATION} FOR ALL TABLES", "VACUUM (FREEZE, ANALYZE)", "CHECKPOINT")
        rows = int(float(server.value(name, "SELECT sum(reltuples) FROM pg_class WHERE relkind = 'r' "
                                            "AND relnamespace = 'public'::regnamespace")))
        made = Source(name, "template0", "", "", rows, 0, 0, look(server, name))
        facts.write_text(json.dumps(asdict(made), indent=2), encoding="utf-8")
    return Source(**json.loads(facts.read_text(encoding="utf-8")))


class CopyProgram(Program):
    goes_on = False

    def __init__(self, name, command):
        super().__init__(name, name)
        self._command = command

    def command(self, run):
        return self._command(run.servers.source.uri(run.source.database),
                             run.servers.target.uri(run.target_database), run)


class TableSync(Subscription):
    """The built-in first copy: the schema by hand, then a subscription that copies."""

    goes_on = False
    poll_seconds = 0.2  # Each look is a psql.

    def start(self, run):
        source_server, target = run.servers.source, run.servers.target
        schema = run.folder / "schema.sql"
        run_program([source_server.binaries / "pg_dump", "--schema-only", "--no-publications", "-f", schema,
                            "-d", source_server.conninfo(run.source.database)])
        run_program([*target.psql(run.target_database, CONTESTANT), "-o", "/dev/null", "-f", schema])
        target.sql(run.target_database, f"""CREATE SUBSCRIPTION {self.NAME}
            CONNECTION '{source_server.conninfo(run.source.database)}' PUBLICATION {PUBLICATION}""")

    def finished(self, run):
        return run.servers.target.value(
            run.target_database, "SELECT count(*) FROM pg_subscription_rel WHERE srsubstate <> 'r'") == "0"

    def abandon(self, run):
        super().abandon(run)
        left = f"slot_name = '{self.NAME}' OR slot_name LIKE 'pg\\_%\\_sync\\_%'"
        for slot in run.servers.source.sql("postgres", f"SELECT slot_name FROM pg_replication_slots WHERE {left}"):
            drop_slot(run.servers.source, slot)


def contestants(names, options):
    binaries = options.binaries

    def walferry(source_uri, target_uri, run):
        return [options.walferry, "--source", source_uri, "--target", target_uri,
                "--work-dir", run.folder / "work", "copy", "--copy-jobs", JOBS, "--index-jobs", JOBS,
                *shlex.split(options.walferry_args)]

    def dump(source_uri, target_uri, run):
        folder = run.folder / "dump"
        return ["/bin/sh", "-ec",
                f"{binaries}/pg_dump -Fd -Z0 -j{JOBS} --no-publications -f {folder} -d {source_uri}\n"
                f"{binaries}/pg_restore -j{JOBS} -d {target_uri} {folder}"]

    def pgcopydb(source_uri, target_uri, run):
        return ["pgcopydb", "clone", "--source", source_uri, "--target", target_uri,
                "--dir", run.folder / "pgcopydb", "--table-jobs", JOBS, "--index-jobs", JOBS]

    makers = {
        "walferry": lambda: CopyProgram("walferry", walferry),
        "dump": lambda: CopyProgram("dump", dump),
        "table_sync": lambda: TableSync("table_sync", streaming="off"),
        "pgcopydb": lambda: CopyProgram("pgcopydb", pgcopydb),
    }
    return [makers[name]() for name in names]
