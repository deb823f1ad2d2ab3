#!/usr/bin/env python3
"""bench/compare reckons right: medians, ratios, and what is missed."""
import sys
import unittest
from pathlib import Path
from types import SimpleNamespace

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
import report

MACHINE = {"cpu": "a CPU", "cores": 2, "memory_bytes": 2**34, "kernel": "6.1", "postgres": "PostgreSQL 15",
           "walferry": "walferry 1"}
WORKLOAD = SimpleNamespace(what="w", at_least=1.5, aim=2.0)
SOURCE = SimpleNamespace(changes=1000, transactions=10, wal_bytes=99)


def run(seconds, equal=True, error=None, cpu=0.0, peak_bytes=0):
    return SimpleNamespace(seconds=seconds, equal=equal, error=error, busy=seconds, peak_bytes=peak_bytes,
                           cpu={"walsender": {"user": cpu, "system": 0.0}} if cpu else {})


def report_of(**results):
    return {"machine": MACHINE, "date": "today", "notes": [],
            "workloads": {"tpcb": report.compare(WORKLOAD, SOURCE, results)}}


class ReportTest(unittest.TestCase):
    def test_takes_the_median_of_the_runs_that_ended_well(self):
        summary = report.summarize([run(3.0), run(1.0), run(2.0, error="lost"), run(9.0)])
        self.assertEqual(summary["median_s"], 3.0)
        self.assertEqual(summary["errors"], ["lost"])

    def test_a_process_that_a_run_did_not_have_counts_as_nothing_there(self):
        summary = report.summarize([run(1.0, cpu=4.0), run(1.0, cpu=2.0), run(1.0)])
        self.assertEqual(summary["cpu_s"]["walsender"]["user"], 2.0)

    def test_says_how_many_times_faster_than_the_built_in_subscription(self):
        contestants = report_of(walferry=[run(2.0)], native=[run(3.0)], ceiling=[run(1.0)])["workloads"]["tpcb"][
            "contestants"]
        self.assertEqual(contestants["walferry"]["ratio"], 1.5)
        self.assertEqual(contestants["walferry"]["of_ceiling"], 0.5)
        self.assertEqual(contestants["walferry"]["changes_per_s"], 500)

    def test_names_what_is_missed(self):
        self.assertEqual(report.missed(report_of(walferry=[run(2.0)], native=[run(3.0)])), [])
        self.assertEqual(report.missed(report_of(walferry=[run(2.1)], native=[run(3.0)])), ["tpcb"])
        self.assertIn("MISSED", report.text(report_of(walferry=[run(2.1)], native=[run(3.0)])))

    def test_names_what_is_missed_with_the_target_far_away(self):
        slow = report_of(walferry=[run(1.0)], walferry_far=[run(1.2)], native=[run(3.0)])
        self.assertEqual(report.missed(slow), ["tpcb far away, over its speed nearby"])

    def test_leaves_the_starts_out_of_the_comparison_of_far_and_near(self):
        far = report_of(walferry=[run(1.0)], walferry_proxied=[run(1.1)], walferry_far=[run(1.9)])
        far["workloads"]["start"] = report.compare(
            WORKLOAD, SOURCE, {"walferry_proxied": [run(0.1)], "walferry_far": [run(0.8)]})
        self.assertEqual(report.far_speed(far, "tpcb"), 0.909)
        self.assertIsNone(report.far_speed(far, "start"))

    def test_names_too_much_memory(self):
        large = report_of(walferry=[run(1.0, peak_bytes=600_000_000)], native=[run(3.0)])
        self.assertEqual(report.missed(large), ["memory, 576 MB over its peak"])

    def test_a_run_whose_contents_differ_is_a_failure(self):
        broken = report_of(walferry=[run(1.0, equal=False, error="the contents differ")], native=[run(3.0)])
        self.assertEqual(report.failures(broken), ["tpcb walferry: the contents differ"])
        self.assertIn("FAILED: tpcb walferry: the contents differ", report.text(broken))

    def test_compares_first_copies_with_each_other(self):
        copies = report.compare_copies(SOURCE, {"walferry": [run(2.0)], "dump": [run(2.5)]}, {"dump": 1.3})
        outcome = {"machine": MACHINE, "date": "today", "notes": [], "first_copy": copies}
        self.assertEqual(copies["contestants"]["dump"]["walferry_ratio"], 1.25)
        self.assertEqual(report.missed(outcome), ["first copy against dump"])
        self.assertIn("rows/s", report.text(outcome))


if __name__ == "__main__":
    unittest.main()
