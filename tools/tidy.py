#!/usr/bin/env python3
"""Keeps the house tidy: one function per rule, one line per finding, exit code 1 if there is any.

    tools/tidy.py [--walferry BINARY] [ROOT]

With --walferry, the program's own help is compared with the reference in README.md.
Tested by tests/tools/tidy_test.py.
"""
import argparse
import fnmatch
import os
import re
import subprocess
import sys
from pathlib import Path

# Each layer may include itself and what stands before it.
LAYERS = ["decoder", "stream", "apply", "tools"]
LIBPQ_FILES = {
    "stream/connection.cc",
    "stream/connection_login.cc",
    "stream/conninfo.cc",
    "stream/transport_libpq.cc",
    "stream/transport_socket.cc",
    "apply/pipeline.cc",
}
TOOLS_ONLY_LIBRARIES = re.compile(r"^(CLI|spdlog|fmt|nlohmann|httplib\.h|toml\+\+)(/|$)")
BANNED_NAMES = {"util", "utils", "common", "helper", "helpers", "manager", "misc"}
# Assembled, so that this file does not find itself.
MARKERS = re.compile(r"\b(%s)\b" % "|".join(["TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK"]))
MACHINE_PATHS = re.compile(r"(?<![\w.$}])/(work|root|home)(?=/|\b(?!\.))")
# Read backwards, for the same reason.
MAKER_NAMES = [name[::-1] for name in ["edualc", "ciporhtna", "tpgtahc", "ianepo", "tolipoc", "mll"]]
MAKERS = re.compile(r"\b(%s)\b" % "|".join(MAKER_NAMES), re.IGNORECASE)
LINES_MAX = {".cc": 500, ".h": 260, ".py": 500, ".sql": 500, ".cmake": 260}
COLUMNS_MAX = 115
BYTES_MAX = 1 << 20
# A sign for "and so on" reads better than three dots; anything else outside ASCII has no business in a source.
BEYOND_ASCII = "\u2026"
SOURCE_SUFFIXES = {".cc", ".h", ".py", ".cmake", ".sql", ".sh"}


class Tree:
    """The files of the project: tracked ones and those about to be, as relative paths."""

    def __init__(self, root):
        self.root = Path(root).resolve()
        self.files = sorted(path for path in self._list() if (self.root / path).is_file())
        self._texts = {}

    def _list(self):
        git = subprocess.run(
            ["git", "-c", f"safe.directory={self.root}", "ls-files", "-co", "--exclude-standard"],
            cwd=self.root, capture_output=True, text=True, check=False) if (self.root / ".git").exists() else None
        if git is not None and git.returncode == 0:
            return git.stdout.splitlines()
        return [str(path.relative_to(self.root)) for path in self.root.rglob("*")
                if path.relative_to(self.root).parts[0] not in ("build", ".git", ".cache")
                and "__pycache__" not in path.parts]

    def text(self, path):
        if path not in self._texts:
            self._texts[path] = (self.root / path).read_bytes().decode("utf-8", errors="replace")
        return self._texts[path]

    def is_text(self, path):
        return "\0" not in self.text(path)

    def sources(self):
        return [path for path in self.files if Path(path).suffix in SOURCE_SUFFIXES]

    def lines(self, path):
        return enumerate(self.text(path).split("\n"), start=1)

    def includes(self, path):
        for number, line in self.lines(path):
            match = re.match(r'\s*#\s*include\s*[<"]([^>"]+)[>"]', line)
            if match:
                yield number, match[1]


def includes_run_downwards(tree):
    for path in tree.sources():
        layer = path.split("/")[0]
        if layer not in LAYERS:
            continue
        above = LAYERS[LAYERS.index(layer) + 1:] + ["tests", "bench"]
        for number, name in tree.includes(path):
            if name.split("/")[0] in above and "/" in name:
                yield f"{path}:{number}: {layer}/ may not include {name}: dependencies run downwards only"


def libpq_stays_in_its_files(tree):
    for path in tree.sources():
        if path in LIBPQ_FILES or path.split("/")[0] not in LAYERS:
            continue
        for number, name in tree.includes(path):
            if name.endswith("libpq-fe.h"):
                yield f"{path}:{number}: libpq-fe.h has its files already (LIBPQ_FILES): use stream/connection.h"


def libraries_of_tools_stay_there(tree):
    for path in tree.sources():
        if path.split("/")[0] not in LAYERS[:-1]:
            continue
        for number, name in tree.includes(path):
            if TOOLS_ONLY_LIBRARIES.match(name):
                yield f"{path}:{number}: {name} is known to tools/ alone: return a status or count instead"


def names_say_something(tree):
    for path in tree.files:
        for part in Path(path).parts:
            words = set(re.split(r"[^a-z]+", part.lower()))
            if words & BANNED_NAMES:
                yield f"{path}: {(words & BANNED_NAMES).pop()} says nothing: name it after the noun that it holds"
                break


def nothing_is_left_over(tree):
    for path in tree.files:
        if not tree.is_text(path):
            continue
        for number, line in tree.lines(path):
            match = MARKERS.search(line)
            if match:
                yield f"{path}:{number}: {match[1]}: do it, or open an issue"


def outside_raw_strings(lines):
    """Without the lines in a C++ raw string of several lines: SQL and data, which no formatter may break."""
    end = None
    for number, line in lines:
        if end is None:
            yield number, line
        elif end in line:
            end = None
            continue
        for opening in re.finditer(r'R"(\w*)\(', line):
            if end is None and f'){opening[1]}"' not in line[opening.end():]:
                end = f'){opening[1]}"'


def sizes_fit(tree):
    for path in tree.sources():
        suffix = Path(path).suffix
        count = tree.text(path).count("\n")
        if count > LINES_MAX.get(suffix, COLUMNS_MAX * 1000):
            yield f"{path}: {count} lines, at most {LINES_MAX[suffix]}: it holds more than one noun"
        for number, line in outside_raw_strings(tree.lines(path)):
            if len(line) > COLUMNS_MAX and suffix in (".cc", ".h", ".py") and "https://" not in line:
                yield f"{path}:{number}: {len(line)} columns, at most {COLUMNS_MAX}"


def sources_are_ascii(tree):
    for path in tree.sources():
        if path.startswith("tests/"):
            continue  # Data in many scripts is what tests are for.
        for number, line in tree.lines(path):
            strange = sorted({c for c in line if ord(c) > 126 and c not in BEYOND_ASCII})
            if strange:
                names = " ".join(f"U+{ord(c):04X}" for c in strange)
                yield f"{path}:{number}: {names}: sources are ASCII (use an escape where the program prints it)"


def files_are_small(tree):
    for path in tree.files:
        size = (tree.root / path).stat().st_size
        if size > BYTES_MAX:
            yield f"{path}: {size} bytes, at most {BYTES_MAX}: generate it"


def nothing_tells_where_it_was_made(tree):
    for path in tree.files:
        if not tree.is_text(path):
            continue
        for number, line in tree.lines(path):
            match = MACHINE_PATHS.search(line)
            if match:
                yield f"{path}:{number}: {match[0]}: a path of one machine"
            match = MAKERS.search(line)
            if match:
                yield f"{path}:{number}: {match[0]}: the project does not speak of the tools that it was made with"


def references_lead_somewhere(tree):
    known = {Path(path).name for path in tree.files}
    for path in tree.files:
        if not tree.is_text(path):
            continue
        for number, line in tree.lines(path):
            for name in re.findall(r"(?<![\w/.-])([A-Z]+\.md)\b", line):
                if name not in known:
                    yield f"{path}:{number}: there is no {name} here"


def tests_that_are_named_exist(tree):
    for path in tree.sources():
        for number, line in tree.lines(path):
            match = re.match(r"(?://|#|--) Tested by (\S+?)[.,]?$", line)
            if match and not fnmatch.filter(tree.files, match[1]):
                yield f"{path}:{number}: there is no {match[1]}"


def folders_have_a_readme(tree):
    folders = {path.split("/")[0] for path in tree.files if "/" in path and not path.startswith(".")}
    for folder in sorted(folders):
        if f"{folder}/README.md" not in tree.files:
            yield f"{folder}/: no README.md: what is it for, in which order to read it, what does it keep true"


def changelog_speaks_of_this_version(tree):
    version = re.search(r"project\(walferry VERSION ([\d.]+)", tree.text("CMakeLists.txt"))
    changelog = tree.text("CHANGELOG.md") if "CHANGELOG.md" in tree.files else ""
    top = re.search(r"^## (\S+)", changelog, re.MULTILINE)
    if not version or not top or version[1] != top[1]:
        yield (f"CHANGELOG.md: its top entry is {top[1] if top else 'missing'}, "
               f"the version in CMakeLists.txt is {version[1] if version else 'missing'}")


def help_of(binary, arguments):
    run = subprocess.run([binary, *arguments, "--help"], capture_output=True, text=True, timeout=20, check=False)
    if run.returncode != 0:
        raise SystemExit(f"tidy: {binary} {' '.join(arguments)} --help ended with {run.returncode}: {run.stderr}")
    return run.stdout


def options_of(text):
    # "  -h,--help        What it does": the names stand before the next two spaces.
    names = [line.strip().split("  ")[0] for line in text.splitlines() if re.match(r"\s+-", line)]
    return set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", " ".join(names)))


def commands_of(text):
    section = re.split(r"^Subcommands:|^Commands:", text, flags=re.MULTILINE)
    # The list ends with an empty line.
    listed = section[1].lstrip("\n").split("\n\n")[0] if len(section) > 1 else ""
    return re.findall(r"^  ([a-z][a-z-]*)(?:\s|$)", listed, re.MULTILINE)


def readme_knows_every_option(tree, binary):
    readme = tree.text("README.md") if "README.md" in tree.files else ""
    overview = help_of(binary, [])
    commands = commands_of(overview)
    if not commands:
        yield "README.md: walferry --help lists no commands (a list under a line that begins with Subcommands:)"
    for command in commands:
        if not re.search(rf"`(walferry )?{command}\b", readme):
            yield f"README.md: its reference does not know the command {command}"
    for command in [None, *commands]:
        text = overview if command is None else help_of(binary, [command])
        for option in sorted(options_of(text) - {"--help"}):
            if not re.search(rf"{option}(?![\w-])", readme):
                yield f"README.md: its reference does not know {option} of walferry {command or ''}".rstrip()


RULES = [
    includes_run_downwards,
    libpq_stays_in_its_files,
    libraries_of_tools_stay_there,
    names_say_something,
    nothing_is_left_over,
    sizes_fit,
    sources_are_ascii,
    files_are_small,
    nothing_tells_where_it_was_made,
    references_lead_somewhere,
    tests_that_are_named_exist,
    folders_have_a_readme,
    changelog_speaks_of_this_version,
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("root", nargs="?", default=Path(__file__).resolve().parent.parent)
    parser.add_argument("--walferry", help="the program, whose help is compared with README.md")
    arguments = parser.parse_args()
    tree = Tree(arguments.root)
    findings = [finding for rule in RULES for finding in rule(tree)]
    if arguments.walferry and os.access(arguments.walferry, os.X_OK):
        findings += readme_knows_every_option(tree, arguments.walferry)
    elif arguments.walferry:
        print(f"tidy: {arguments.walferry} is not built: its options were not looked at", file=sys.stderr)
    for finding in findings:
        print(finding)
    print(f"tidy: {len(tree.files)} files, {len(findings)} findings", file=sys.stderr)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
