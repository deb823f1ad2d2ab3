"""What was measured, as a table to read and as JSON to keep."""
import statistics

REFERENCE = "native"
CEILING = "ceiling"


def spread(values):
    return f"{min(values):.2f}-{max(values):.2f}"


def summarize(results):
    """The runs of one contestant on one workload, in one dictionary. Runs that failed have no time."""
    good = [result for result in results if result.seconds > 0]
    seconds = [result.seconds for result in good]
    roles = sorted({role for result in good for role in result.cpu})
    compared = [result.equal for result in results if result.equal is not None]
    return {
        "seconds": seconds,
        "median_s": statistics.median(seconds) if seconds else None,
        "cpu_s": {role: {kind: round(statistics.median(result.cpu.get(role, {}).get(kind, 0) for result in good), 2)
                         for kind in ("user", "system")} for role in roles},
        "busy_s": statistics.median(result.busy for result in good) if good else None,
        "peak_bytes": max((result.peak_bytes for result in results), default=0),
        "equal": all(compared) if compared else None,
        "errors": [result.error for result in results if result.error],
    }


def compare(workload, source, results):
    """One workload: the summary of each contestant, and how they stand to each other."""
    contestants = {name: summarize(runs) for name, runs in results.items()}
    reference = contestants.get(REFERENCE, {}).get("median_s")
    ceiling = contestants.get(CEILING, {}).get("median_s")
    for summary in contestants.values():
        median = summary["median_s"]
        summary["changes_per_s"] = round(source.changes / median) if median else None
        summary["ratio"] = round(reference / median, 2) if reference and median else None
        summary["of_ceiling"] = round(ceiling / median, 3) if ceiling and median else None
    return {"what": workload.what, "changes": source.changes, "transactions": source.transactions,
            "wal_bytes": source.wal_bytes, "at_least": workload.at_least, "aim": workload.aim,
            "contestants": contestants}


def verdict(workload, name, summary):
    if not name.startswith("walferry") or summary["ratio"] is None:
        return ""
    if summary["ratio"] >= workload["aim"]:
        return "aim"
    return "yes" if summary["ratio"] >= workload["at_least"] else "MISSED"


def show(value, form="{}"):
    return "-" if value is None else form.format(value)


def aligned(rows):
    """Columns as wide as their widest cell; the first two to the left, figures to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) if i < 2 else cell.rjust(width)
                        for i, (cell, width) in enumerate(zip(row, widths))).rstrip()


def speed_rows(workloads):
    yield ["workload", "contestant", "changes", "median s", "min-max", "changes/s", "ratio", "at least", "aim",
           "reached", "of ceiling", "both cores", "peak MB", "equal"]
    for name, workload in workloads.items():
        for contestant, summary in workload["contestants"].items():
            owed = contestant.startswith("walferry")
            busy = (summary["busy_s"] / summary["median_s"] / workload["cores"]
                    if summary["median_s"] else None)
            yield [name, contestant, str(workload["changes"]), show(summary["median_s"], "{:.2f}"),
                   spread(summary["seconds"]) if summary["seconds"] else "-", show(summary["changes_per_s"]),
                   show(summary["ratio"], "{:.2f}"), show(workload["at_least"]) if owed else "",
                   show(workload["aim"]) if owed else "", verdict(workload, contestant, summary),
                   show(summary["of_ceiling"], "{:.0%}"), show(busy, "{:.0%}"),
                   f"{summary['peak_bytes'] / 1e6:.0f}" if summary["peak_bytes"] else "",
                   {True: "yes", False: "NO", None: ""}[summary["equal"]]]


def cpu_rows(workloads):
    yield ["workload", "contestant", "CPU seconds by process (of these in the kernel)"]
    for name, workload in workloads.items():
        for contestant, summary in workload["contestants"].items():
            parts = [f"{role} {cpu['user'] + cpu['system']:.2f} ({cpu['system']:.2f})"
                     for role, cpu in sorted(summary["cpu_s"].items(), key=lambda item: -sum(item[1].values()))]
            yield [name, contestant, "; ".join(parts)]


def text(report):
    machine = report["machine"]
    lines = [f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_bytes'] / 2**30:.0f} GB, "
             f"Linux {machine['kernel']}, {machine['postgres']}, {machine['walferry']}, {report['date']}", ""]
    lines += aligned(list(speed_rows(report["workloads"])))
    lines.append("")
    lines += [f"{workload:8}  {contestant:16}  {cpu}".rstrip()
              for workload, contestant, cpu in cpu_rows(report["workloads"])]
    lines += [f"note: {note}" for note in report["notes"]]
    lines += [f"FAILED: {name} {contestant}: {error}" for name, workload in report["workloads"].items()
              for contestant, summary in workload["contestants"].items() for error in summary["errors"]]
    return "\n".join(lines)


def failed(report):
    return any(summary["errors"] for workload in report["workloads"].values()
               for summary in workload["contestants"].values())


def missed(report):
    """Names what is below what is owed."""
    return [f"{name} {contestant}" for name, workload in report["workloads"].items()
            for contestant, summary in workload["contestants"].items()
            if verdict(workload, contestant, summary) == "MISSED"]
