"""What can be measured: streaming of prepared backlogs, latency of lone transactions, the first copy."""
import shlex
import shutil

import contestants
import first_copy
import latency
import report
from race import Race
from sources import SourceStore
from workloads import WORKLOADS


def stream_makers(options):
    arguments = shlex.split(options.walferry_args)
    return {
        "walferry": lambda name: contestants.Walferry(name, options.walferry, arguments),
        "walferry_far": lambda name: contestants.FarWalferry(name, options.walferry, arguments, options.delay_ms),
        "walferry_proxied": lambda name: contestants.FarWalferry(name, options.walferry, arguments, 0),
        "native": lambda name: contestants.Subscription(name, streaming="off"),
        "native_stream": lambda name: contestants.Subscription(name, streaming="on"),
        "recvlogical": contestants.Receiver,
        "ceiling": lambda name: contestants.Ceiling(name, options.ceiling),
    }


ONLY_FOR = {"native_stream": "huge"}


def in_turns(field, runs, measure, say):
    """Each once, then each again, so that whatever changes on the machine changes for all of them."""
    results = {contestant.name: [] for contestant in field}
    for turn in range(runs):
        for contestant in field:
            result = measure(contestant)
            results[contestant.name].append(result)
            say(f"{contestant.name} {turn + 1}/{runs}: {result.error or result.headline()}")
    return results


def stream(options, servers, say):
    race = Race(servers, options.time_limit)
    store = SourceStore(servers, say)
    makers = stream_makers(options)
    measured = {}
    for name in options.workloads or WORKLOADS:
        source = store.get(WORKLOADS[name], options.scale)
        if options.make_only:
            continue
        field = [makers[contestant](contestant) for contestant in options.contestants
                 if ONLY_FOR.get(contestant, name) == name]
        say(f"{name}:")
        results = in_turns(field, options.runs, lambda contestant: race.measure(contestant, source), say)
        measured[name] = report.compare(WORKLOADS[name], source, results)
    return {"workloads": measured}


def lone(options, servers, say):
    servers.use_source("latency")
    makers = stream_makers(options)
    field = [makers[name](name) for name in options.contestants]
    results = in_turns(
        field, options.runs,
        lambda contestant: latency.measure(servers, contestant, options.transactions, options.time_limit), say)
    return {"latency": {name: latency.summarize(runs) for name, runs in results.items()}}


def copy(options, servers, say):
    source = first_copy.source(servers, options.scale, say)
    if options.make_only:
        return {"first_copy": {}}
    race = Race(servers, options.time_limit, first_copy.look)
    results = in_turns(first_copy.contestants(options.contestants, options), options.runs,
                       lambda contestant: race.measure(contestant, source), say)
    return {"first_copy": report.compare_copies(source, results, first_copy.AT_LEAST)}


MEASURES = {"stream": stream, "latency": lone, "copy": copy}


def usual_contestants(options):
    """Everybody whom this machine can field; and words about who is missing."""
    if options.measure == "latency":
        return ["walferry", "native"], []
    if options.measure == "copy":
        if shutil.which("pgcopydb"):
            return ["walferry", "pgcopydb", "dump", "table_sync"], []
        return ["walferry", "dump", "table_sync"], ["pgcopydb is not installed"]
    names = ["walferry", "native", "native_stream", "recvlogical"]
    if options.delay_ms:
        names[1:1] = ["walferry_far", "walferry_proxied"]
    if options.ceiling.exists():
        return names + ["ceiling"], []
    return names, [f"no ceiling: {options.ceiling} is not built (WALFERRY_BENCH)"]
