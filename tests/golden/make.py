#!/usr/bin/env python3
"""Regenerates the golden files beside this script from a real server.

Each case is NAME.sql: a line "-- options: ...", SQL that prepares a database and the publication "golden", a
line "-- slot", and SQL whose changes are recorded. The result is NAME.txt: the options, then for each message
a line with its LSN and its bytes in hex, followed by its description, which the decoder writes:

    python3 tests/golden/make.py                       # all cases, with the server in PG_BIN
    WALFERRY_UPDATE_GOLDEN=1 build/release/tests/decoder/decoder_test --gtest_filter='Golden*'

The server is a throwaway one, in a temporary directory, reachable over its Unix socket only. As root it runs as
the user postgres. Review the difference before committing: LSNs, transaction ids and times change with every run.
"""

import os
import pathlib
import pwd
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
PG_BIN = pathlib.Path(os.environ.get("PG_BIN", "/usr/lib/postgresql/15/bin"))
SETTINGS = {
    "listen_addresses": "",
    "wal_level": "logical",
    "max_prepared_transactions": "10",
    "fsync": "off",
    "autovacuum": "off",
    "timezone": "UTC",
}


class Server:
    def __init__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="walferry-golden-"))
        self.data = self.directory / "data"
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self.directory, user.pw_uid, user.pw_gid)

    def command(self, program, *arguments):
        prefix = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        return [*prefix, str(PG_BIN / program), *arguments]

    def __enter__(self):
        settings = " ".join(f"-c {key}='{value}'" for key, value in SETTINGS.items())
        quiet = {"check": True, "stdout": subprocess.DEVNULL, "cwd": self.directory}
        subprocess.run(self.command("initdb", "-D", str(self.data), "-U", "postgres", "-A", "trust", "--no-sync",
                                    "--locale=C", "--encoding=UTF8"), **quiet)
        subprocess.run(self.command("pg_ctl", "-D", str(self.data), "-w", "-l", str(self.directory / "log"),
                                    "-o", f"-k {self.directory} {settings}", "start"), **quiet)
        return self

    def __exit__(self, *_):
        subprocess.run(self.command("pg_ctl", "-D", str(self.data), "-m", "immediate", "-w", "stop"),
                       check=False, stdout=subprocess.DEVNULL, cwd=self.directory)
        shutil.rmtree(self.directory)

    def sql(self, database, text):
        done = subprocess.run(self.command("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1",
                                           "-h", str(self.directory), "-U", "postgres", "-d", database),
                              input=text, capture_output=True, text=True, cwd=self.directory)
        if done.returncode != 0:
            sys.exit(f"{database}: {done.stderr}")
        return done.stdout


def make(server, case):
    name = case.stem
    text = case.read_text()
    options = re.search(r"^-- options: (.*)$", text, re.MULTILINE).group(1)
    prepare, changes = re.split(r"^-- slot$", text, maxsplit=1, flags=re.MULTILINE)
    two_phase = "two_phase=on" in options

    server.sql("postgres", f"CREATE DATABASE {name}")
    server.sql(name, prepare)
    server.sql(name, f"SELECT pg_create_logical_replication_slot('{name}', 'pgoutput', false, {two_phase})")
    server.sql(name, changes)
    arguments = ", ".join(f"'{part}'" for option in options.split() for part in option.split("="))
    messages = server.sql(name, f"""
        SET logical_decoding_work_mem = '64kB';
        SELECT lsn || ' ' || encode(data, 'hex')
        FROM pg_logical_slot_peek_binary_changes(
            '{name}', NULL, NULL, 'publication_names', 'golden', {arguments});""")
    server.sql(name, f"SELECT pg_drop_replication_slot('{name}')")

    version = server.sql(name, "SHOW server_version_num").strip()
    case.with_suffix(".txt").write_text(
        f"# From a server of version {version} by tests/golden/make.py with {case.name}.\n"
        f"options {options}\n{messages}")
    print(f"{name}: {len(messages.splitlines())} messages")


def main():
    cases = sorted(HERE.glob("*.sql"))
    with Server() as server:
        for case in cases:
            make(server, case)


if __name__ == "__main__":
    main()
