"""A timeline held against the rules of Chrome's trace format, and read."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

TRIALS = 1
"""The process of a trace that holds the trials."""


def checked(text: str) -> list[dict[str, Any]]:
    """The events of a trace, each of which a viewer understands, and none of which crosses another in its thread."""
    trace = json.loads(text)
    assert trace["displayTimeUnit"] == "ms"
    processes, threads, spans = set(), set(), defaultdict(list)
    for event in trace["traceEvents"]:
        assert type(event["pid"]) is int
        assert type(event["tid"]) is int
        if event["ph"] == "M":
            assert isinstance(event["args"]["name"], str)
            named = {"process_name": processes, "thread_name": threads}[event["name"]]
            named.add(event["pid"] if event["name"] == "process_name" else (event["pid"], event["tid"]))
        else:
            assert event["ph"] == "X"
            assert type(event["ts"]) is int
            assert event["ts"] >= 0
            assert type(event["dur"]) is int
            assert event["dur"] >= 0
            assert isinstance(event["name"], str)
            assert isinstance(event["cat"], str)
            assert event["pid"] in processes
            assert (event["pid"], event["tid"]) in threads
            spans[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    for place, found in spans.items():
        open_until: list[int] = []
        for began, ended in found:
            while open_until and open_until[-1] <= began:
                open_until.pop()
            assert not open_until or ended <= open_until[-1], f"events cross in {place}"
            open_until.append(ended)
    return [event for event in trace["traceEvents"] if event["ph"] == "X"]


def of_workers(events: list[dict[str, Any]]) -> dict[tuple[int, int], list[dict[str, Any]]]:
    """What workers did, by their threads, in the order of time."""
    found = defaultdict(list)
    for event in events:
        if event["pid"] != TRIALS:
            found[event["pid"], event["tid"]].append(event)
    return found


def charged(events: list[dict[str, Any]], trial: str) -> float:
    """Core-seconds of a trial: of its jobs, and of the driver itself."""
    mine = [one for one in events if one["pid"] == TRIALS and one["args"]["trial"] == trial]
    jobs = sum(one["args"]["device_seconds"]["cpu"] for one in mine if one["cat"] != "round")
    return float(jobs + sum(one["args"].get("driver_seconds", 0.0) for one in mine if one["cat"] == "round"))


def booked(rounds: list[dict[str, Any]]) -> float:
    """Core-seconds of a ledger, by the objects of its rounds."""
    return float(sum(one["device_seconds"]["cpu"] for one in rounds))
