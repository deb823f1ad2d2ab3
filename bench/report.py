"""What was measured, as tables to read; the same dictionaries are kept as JSON.

Tested by tests/bench/report_test.py.
"""
import statistics

from workloads import START

REFERENCE = "native"
CEILING = "ceiling"
OWING = "walferry"
FAR = "walferry_far"
NEAR = ("walferry_proxied", OWING)  # What that is compared with: best where the proxy works, too.
FAR_AT_LEAST = 0.9                  # Of the speed without the round trip.
MEDIAN_AT_MOST_MS = 10  # Latency of lone transactions.
P99_AT_MOST_MS = 50
MEMORY_AT_MOST_MB = 512 + 64  # walferry's default budget, and what is around it.


def median_cpu(results, role, kind):
    return round(statistics.median(result.cpu.get(role, {}).get(kind, 0) for result in results), 2)


def summarize(results):
    """The runs of one contestant in one dictionary. A run that failed has no time."""
    good = [result for result in results if not result.error]
    seconds = [result.seconds for result in good]
    roles = sorted({role for result in good for role in result.cpu})
    compared = [result.equal for result in results if result.equal is not None]
    return {
        "seconds": seconds,
        "median_s": statistics.median(seconds) if seconds else None,
        "cpu_s": {role: {kind: median_cpu(good, role, kind) for kind in ("user", "system")} for role in roles},
        "busy_s": round(statistics.median(result.busy for result in good), 2) if good else None,
        "peak_bytes": max((result.peak_bytes for result in results), default=0),
        "equal": all(compared) if compared else None,
        "errors": [result.error for result in results if result.error],
    }


def times_faster(summary, other):
    if not summary["median_s"] or not other or not other["median_s"]:
        return None
    return round(other["median_s"] / summary["median_s"], 3)


def compare(workload, source, results):
    """One workload: the summary of each contestant, and how they stand to each other."""
    contestants = {name: summarize(runs) for name, runs in results.items()}
    for summary in contestants.values():
        summary["changes_per_s"] = round(source.changes / summary["median_s"]) if summary["median_s"] else None
        summary["ratio"] = times_faster(summary, contestants.get(REFERENCE))
        summary["of_ceiling"] = times_faster(summary, contestants.get(CEILING))
    return {"what": workload.what, "changes": source.changes, "transactions": source.transactions,
            "wal_bytes": source.wal_bytes, "at_least": workload.at_least, "aim": workload.aim,
            "contestants": contestants}


def compare_copies(source, results, at_least):
    """The first copy: how many times faster walferry is than each of the others, and has to be."""
    contestants = {name: summarize(runs) for name, runs in results.items()}
    for name, summary in contestants.items():
        summary["rows_per_s"] = round(source.changes / summary["median_s"]) if summary["median_s"] else None
        if OWING in contestants and name in at_least:
            summary["walferry_ratio"] = times_faster(contestants[OWING], summary)
            summary["at_least"] = at_least[name]
    return {"rows": source.changes, "contestants": contestants}


def far_speed(report, workload):
    """Of the speed nearby, the starts left out of both where they were measured, too; None where there is no such
    figure."""
    def steady(contestant):
        times = [report["workloads"].get(name, {}).get("contestants", {}).get(contestant, {}).get("median_s")
                 for name in (workload, START)]
        return times[0] - (times[1] or 0) if times[0] else None
    near = next((speed for speed in map(steady, NEAR) if speed), None)
    far = steady(FAR)
    return round(near / far, 3) if near and far and workload != START else None


def verdicts(report):
    """(what, measured, at least, aim) of everything that walferry owes, where it was measured. More is better."""
    for name, workload in report.get("workloads", {}).items():
        owing = workload["contestants"].get(OWING, {})
        if owing.get("ratio") and workload["at_least"]:
            yield name, owing["ratio"], workload["at_least"], workload["aim"]
        far = far_speed(report, name)
        if far:
            yield f"{name} far away, over its speed nearby", far, FAR_AT_LEAST, 1.0
    for name, summary in report.get("first_copy", {}).get("contestants", {}).items():
        if summary.get("walferry_ratio"):
            yield f"first copy against {name}", summary["walferry_ratio"], summary["at_least"], None
    owing = report.get("latency", {}).get(OWING, {})
    if owing.get("median_ms"):
        yield f"latency, {MEDIAN_AT_MOST_MS} ms over its median", MEDIAN_AT_MOST_MS / owing["median_ms"], 1.0, None
        yield f"latency, {P99_AT_MOST_MS} ms over its p99", P99_AT_MOST_MS / owing["p99_ms"], 1.0, None
    peak_mb = max((contestants[OWING].get("peak_bytes", 0) / 1e6 for _, contestants in groups(report)
                   if OWING in contestants), default=0)
    if peak_mb:
        yield f"memory, {MEMORY_AT_MOST_MB} MB over its peak", MEMORY_AT_MOST_MB / peak_mb, 1.0, None


def verdict(measured, at_least, aim):
    if measured < at_least:
        return "MISSED"
    return "aim" if aim and measured >= aim else "yes"


def missed(report):
    return [what for what, measured, at_least, aim in verdicts(report)
            if verdict(measured, at_least, aim) == "MISSED"]


def groups(report):
    """(measure, its contestants' summaries)"""
    for name, workload in report.get("workloads", {}).items():
        yield name, workload["contestants"]
    if "first_copy" in report:
        yield "copy", report["first_copy"]["contestants"]
    if "latency" in report:
        yield "latency", report["latency"]


def failures(report):
    return [f"{name} {contestant}: {error}" for name, contestants in groups(report)
            for contestant, summary in contestants.items() for error in summary["errors"]]


def show(value, form="{}"):
    return "-" if value is None else form.format(value)


def speed_row(summary, cores):
    """What every race has: the time, the machine's share, memory, whether both sides were equal."""
    seconds = summary["seconds"]
    busy = summary["busy_s"] / summary["median_s"] / cores if summary["median_s"] else None
    return [show(summary["median_s"], "{:.2f}"), f"{min(seconds):.2f}-{max(seconds):.2f}" if seconds else "-",
            show(busy, "{:.0%}"), f"{summary['peak_bytes'] / 1e6:.0f}" if summary["peak_bytes"] else "",
            {True: "yes", False: "NO", None: ""}[summary["equal"]]]


SPEED_HEAD = ["median s", "min-max", "machine busy", "peak MB", "equal"]


def stream_rows(report):
    yield ["workload", "contestant", "changes", *SPEED_HEAD, "changes/s", "ratio", "of ceiling"]
    for name, workload in report["workloads"].items():
        for contestant, summary in workload["contestants"].items():
            yield [name, contestant, str(workload["changes"]), *speed_row(summary, report["machine"]["cores"]),
                   show(summary["changes_per_s"]), show(summary["ratio"], "{:.2f}"),
                   show(summary["of_ceiling"], "{:.0%}")]


def copy_rows(report):
    yield ["measure", "contestant", "rows", *SPEED_HEAD, "rows/s"]
    for contestant, summary in report["first_copy"]["contestants"].items():
        yield ["copy", contestant, str(report["first_copy"]["rows"]),
               *speed_row(summary, report["machine"]["cores"]), show(summary["rows_per_s"])]


def latency_rows(report):
    yield ["measure", "contestant", "transactions", "median ms", "p99 ms", "max ms"]
    for contestant, summary in report["latency"].items():
        yield ["latency", contestant, str(summary["transactions"]),
               *(show(summary[name], "{:.1f}") for name in ("median_ms", "p99_ms", "max_ms"))]


def verdict_rows(report):
    yield ["walferry", "reached", "measured", "at least", "aim"]
    for what, measured, at_least, aim in verdicts(report):
        yield [what, verdict(measured, at_least, aim), f"{measured:.2f}", f"{at_least:.2f}", show(aim, "{:.2f}")]


def cpu_lines(report):
    yield "CPU seconds by process (of these in the kernel):"
    for name, contestants in groups(report):
        for contestant, summary in contestants.items():
            total = {role: cpu["user"] + cpu["system"] for role, cpu in summary["cpu_s"].items()}
            parts = [f"{role} {total[role]:.2f} ({summary['cpu_s'][role]['system']:.2f})"
                     for role in sorted(total, key=total.get, reverse=True) if total[role] >= 0.01]
            yield f"{name:8} {contestant:14} {', '.join(parts)}".rstrip()


def aligned(rows):
    """Columns as wide as their widest cell; the first two to the left, figures to the right."""
    rows = list(rows)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) if i < 2 else cell.rjust(width)
                      for i, (cell, width) in enumerate(zip(row, widths))).rstrip() for row in rows]


def text(report):
    machine = report["machine"]
    sections = [[f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_bytes'] / 2**30:.0f} GB, "
                 f"Linux {machine['kernel']}, {machine['postgres']}, {machine['walferry']}, {report['date']}"]]
    for name, rows in (("workloads", stream_rows), ("first_copy", copy_rows), ("latency", latency_rows)):
        if name in report:
            sections.append(aligned(rows(report)))
    if len(list(verdicts(report))) > 0:
        sections.append(aligned(verdict_rows(report)))
    sections.append(list(cpu_lines(report)))
    sections.append([f"note: {note}" for note in report["notes"]])
    sections.append([f"FAILED: {failure}" for failure in failures(report)])
    return "\n\n".join("\n".join(section) for section in sections if section)
