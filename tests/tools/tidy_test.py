#!/usr/bin/env python3
"""Each rule of tools/tidy.py finds what it is there for, and finds nothing in a tidy tree."""
import importlib.util
import os
import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
SPEC = importlib.util.spec_from_file_location("tidy", Path(__file__).resolve().parents[2] / "tools" / "tidy.py")
tidy = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(tidy)

TIDY_TREE = {
    "CMakeLists.txt": "project(walferry VERSION 1.2.3 LANGUAGES CXX)\n",
    "CHANGELOG.md": "# Changelog\n\n## 1.2.3\n",
    "README.md": "| `walferry go` | runs | `--fast` | `--source` |\n",
    "decoder/README.md": "See CHANGELOG.md.\n",
    "stream/README.md": "",
    "apply/README.md": "",
    "tools/README.md": "",
    "tests/README.md": "",
    "decoder/lsn.h": '#include "decoder/status.h"\n#include <string>\n',
    "stream/connection.cc": "// Tested by tests/lsn_test.cc\n#include <libpq-fe.h>\n#include \"decoder/lsn.h\"\n",
    "tests/lsn_test.cc": "const char* text = \"\u00fc\";\n",
    "tools/log.cc": '#include <spdlog/spdlog.h>\n#include "apply/plan.h"\n',
}


def findings(changes, rule, *arguments):
    with tempfile.TemporaryDirectory() as root:
        for path, text in {**TIDY_TREE, **changes}.items():
            if text is None:
                continue
            file = Path(root) / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        return list(rule(tidy.Tree(root), *arguments))


class TidyTest(unittest.TestCase):
    def assert_finds(self, changes, rule, words):
        found = findings(changes, rule)
        self.assertEqual(len(found), 1, found)
        self.assertIn(words, found[0])

    def test_finds_nothing_in_a_tidy_tree(self):
        for rule in tidy.RULES:
            self.assertEqual(findings({}, rule), [], rule.__name__)

    def test_finds_an_include_that_runs_upwards(self):
        self.assert_finds({"decoder/a.cc": '#include "apply/plan.h"\n'}, tidy.includes_run_downwards,
                          "decoder/a.cc:1: decoder/ may not include apply/plan.h")
        self.assert_finds({"tools/a.cc": '\n#include "tests/support/x.h"\n'}, tidy.includes_run_downwards,
                          "tools/a.cc:2: tools/ may not include tests/support/x.h")

    def test_finds_libpq_outside_its_files(self):
        for line in ["#include <libpq-fe.h>\n", '#include "postgresql/libpq-fe.h"\n']:
            self.assert_finds({"apply/lane.cc": line}, tidy.libpq_stays_in_its_files, "apply/lane.cc:1")

    def test_finds_a_library_of_tools_below(self):
        for name in ["spdlog/spdlog.h", "CLI/CLI.hpp", "httplib.h", "nlohmann/json.hpp"]:
            self.assert_finds({"stream/a.h": f"#include <{name}>\n"}, tidy.libraries_of_tools_stay_there, name)

    def test_finds_names_that_say_nothing(self):
        for path in ["stream/util.h", "misc/README.md", "apply/copy_helper.cc", "tools/common/a.h"]:
            self.assert_finds({path: ""}, tidy.names_say_something, path)

    def test_finds_markers(self):
        marker = "FIX" + "ME"
        self.assert_finds({"apply/a.cc": f"\n// {marker}: later\n"}, tidy.nothing_is_left_over,
                          f"apply/a.cc:2: {marker}")

    def test_finds_long_files_and_lines(self):
        self.assert_finds({"apply/a.cc": "\n" * 501}, tidy.sizes_fit, "501 lines")
        self.assert_finds({"apply/a.h": "\n" * 261}, tidy.sizes_fit, "261 lines")
        self.assert_finds({"apply/a.cc": "x" * 116}, tidy.sizes_fit, "116 columns")
        sql = 'f(R"sql(\n' + "x" * 200 + '\n)sql", R"(one line)");\n'
        self.assertEqual(findings({"apply/a.cc": sql}, tidy.sizes_fit), [])
        self.assert_finds({"apply/a.cc": sql + "x" * 117}, tidy.sizes_fit, "apply/a.cc:4: 117 columns")

    def test_finds_characters_beyond_ascii(self):
        self.assert_finds({"apply/a.cc": "// caf\u00e9 and \u2026\n"}, tidy.sources_are_ascii, "U+00E9")

    def test_finds_large_files(self):
        self.assert_finds({"tests/a.bin": "x" * (1 << 20) + "y"}, tidy.files_are_small, "tests/a.bin")

    def test_finds_traces_of_a_machine_and_of_tools(self):
        rule = tidy.nothing_tells_where_it_was_made
        self.assert_finds({"apply/a.cc": "// see /" + "work/main\n"}, rule, "a path of one machine")
        self.assert_finds({"tools/run": "cd /" + "root\n"}, rule, "a path of one machine")
        self.assert_finds({"README.md": "made with " + tidy.MAKER_NAMES[0].title()}, rule, "the tools")
        self.assertEqual(findings({"README.md": "a/work/b $root/home ${x}/root\n"}, rule), [])

    def test_finds_references_to_missing_files(self):
        self.assert_finds({"apply/a.cc": "// see PLAN" + ".md for more\n"}, tidy.references_lead_somewhere,
                          "apply/a.cc:1")
        self.assert_finds({"apply/a.cc": "// Tested by tests/none_test.cc\n"}, tidy.tests_that_are_named_exist,
                          "tests/none_test.cc")

    def test_finds_a_folder_without_readme(self):
        self.assert_finds({"apply/README.md": None, "apply/a.cc": ""}, tidy.folders_have_a_readme, "apply/")

    def test_finds_a_changelog_that_lags_behind(self):
        self.assert_finds({"CHANGELOG.md": "## 1.2.2\n"}, tidy.changelog_speaks_of_this_version, "1.2.2")
        self.assert_finds({"CHANGELOG.md": None}, tidy.changelog_speaks_of_this_version, "missing")

    def test_finds_options_and_commands_that_the_readme_does_not_know(self):
        def check(readme):
            with tempfile.TemporaryDirectory() as folder:
                binary = Path(folder) / "walferry"
                binary.write_text(FAKE_PROGRAM)
                os.chmod(binary, 0o755)
                return findings({"README.md": readme}, tidy.readme_knows_every_option, str(binary))

        self.assertEqual(check(TIDY_TREE["README.md"]), [])
        self.assertEqual(len(check("`walferry go` with `--fast`")), 1)
        self.assertIn("--source", check("`walferry go` with `--fast`")[0])
        self.assertIn("--fast of walferry go", check("`walferry go` with `--faster` and `--source`")[0])
        self.assertIn("command go", check("`--fast` `--source`")[0])


FAKE_PROGRAM = """#!/bin/sh
if [ "$1" = go ]; then
  echo 'Runs

Options:
  -h,--help                   Print this
  --fast                      Not --slow'
else
  echo 'Options:
  --source TEXT               Where from

Subcommands:
  go                          Runs

TOML:
  source = 1'
fi
"""

if __name__ == "__main__":
    unittest.main()
