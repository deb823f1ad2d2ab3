"""On what it was measured."""
import os
import platform
import re

from servers import run


def field(path, pattern):
    with open(path, encoding="utf-8") as file:
        match = re.search(pattern, file.read(), re.MULTILINE)
    return match[1].strip() if match else "unknown"


def facts(walferry, binaries):
    return {
        "cpu": field("/proc/cpuinfo", r"^model name\s*:(.*)$"),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": int(field("/proc/meminfo", r"^MemTotal:\s*(\d+) kB")) * 1024,
        "kernel": platform.release(),
        "postgres": run([binaries / "postgres", "--version"]).strip(),
        "walferry": run([walferry, "version"]).splitlines()[0],
    }
