"""Play files: what `millrace produce` plays into topics, and the faults sprinkled into them.

A play file is NDJSON sorted by time, one record a line:

    {"input":"arrivals","time":1357046520000,"value":{...}}     a record of that input
    {"input":"arrivals","time":1357046520000,"raw":"{\\"id\\":","key":"EWR"}   the payload as it stands

`time` is when the record is sent, in milliseconds since 1970; `key` overrides the key that the input's key field
gives (a `raw` payload has none that could be read). All faults are *additional* records: without them the very same
records remain, so that what a worker counts can be compared with what was played.

Every choice is a hash of (seed, what, id), never a running generator: a span of time played alone holds the records
that the whole play holds in that span, faults included.
"""
import hashlib
import heapq
import json
import os
import sys
from collections import Counter
from datetime import datetime, timedelta, timezone

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
RECORD_BYTES = 65_536  # the inputs' `record_bytes`


def rfc3339(milliseconds):
    """Milliseconds since 1970 as RFC 3339 text in UTC, with fractions only where there are some."""
    text = (EPOCH + timedelta(milliseconds=milliseconds)).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z").replace(".000Z", "Z")


def instant(text):
    """An instant of the command line: a date (midnight UTC) or RFC 3339 text, as milliseconds since 1970."""
    when = datetime.fromisoformat(text.replace("Z", "+00:00"))
    if when.tzinfo is None:
        when = when.replace(tzinfo=timezone.utc)
    return (when - EPOCH) // timedelta(milliseconds=1)


def chance(seed, *what):
    """A number in [0, 1) that depends on the arguments alone, the same on every host."""
    text = "\x1f".join(map(str, (seed, *what))).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=7).digest(), "big") / 2**56


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


class Roles:
    """What the faults must know of a pipeline: its inputs and the names of their fields."""

    def __init__(self, scored, labels, id, key, event_time, number, other_key, corrected):
        self.scored = scored            # name of the input whose events are scored
        self.labels = labels            # name of the input with labels
        self.id = id                    # input -> field with the id
        self.key = key                  # field that equals the message key
        self.event_time = event_time    # input -> field with the event time
        self.number = number            # input -> a number field
        self.other_key = other_key      # key -> another valid key
        self.corrected = corrected      # value of a label -> the value of its correction


def faults_of(record, roles, seed, rate):
    """The faulty records that follow one good record: mostly none. Yields (kind, record)."""
    time, name, value = record["time"], record["input"], record["value"]
    identity = value[roles.id[name]]
    if chance(seed, "fault", name, identity) >= rate:
        return
    kinds = ["malformed-json", "not-an-object", "empty-payload", "duplicate-field", "wrong-type", "future-time", "bad-time", "key-mismatch", "oversized"]
    if name == roles.scored:
        kinds += ["missing-id", "duplicate-event", "duplicate-event"]
    elif name == roles.labels:
        kinds += ["missing-id", "duplicate-label", "correction", "correction", "orphan-label", "orphan-label"]
    else:
        kinds += ["late-event", "late-event"]
    kind = kinds[int(chance(seed, "kind", name, identity) * len(kinds))]
    text, key, later = compact(value), value[roles.key], time + MINUTE

    def raw(payload):
        return {"input": name, "time": later, "raw": payload, "key": key}

    def changed(at=later, **fields):
        return {"input": name, "time": at, "value": {**value, **fields}}

    clock = roles.event_time[name]
    if kind == "malformed-json":
        yield kind, raw(text[: len(text) // 2])
    elif kind == "not-an-object":
        yield kind, raw("[" + text + "]")
    elif kind == "empty-payload":
        yield kind, raw("")
    elif kind == "duplicate-field":
        yield kind, raw(text[:-1] + "," + compact({clock: value[clock]})[1:])
    elif kind == "wrong-type":
        yield kind, changed(**{roles.number[name]: "a lot"})
    elif kind == "future-time":
        yield kind, changed(**{clock: "2113-01-01T00:00:00Z"})
    elif kind == "bad-time":
        yield kind, changed(**{clock: "yesterday, after lunch"})
    elif kind == "key-mismatch":
        yield kind, {**changed(), "key": roles.other_key(key)}
    elif kind == "oversized":
        yield kind, changed(note="x" * RECORD_BYTES)
    elif kind == "missing-id":
        yield kind, {"input": name, "time": later, "value": {k: v for k, v in value.items() if k != roles.id[name]}}
    elif kind in ("duplicate-event", "duplicate-label"):
        yield kind, changed()
    elif kind == "late-event":  # the same event under another id, hours after it happened
        yield kind, changed(at=time + 4 * HOUR, **{roles.id[name]: identity + "-late"})
    elif kind == "correction":
        yield kind, {"input": name, "time": time + HOUR, "value": roles.corrected({**value, clock: rfc3339(time + HOUR)})}
    elif kind == "orphan-label":
        yield kind, changed(**{roles.id[name]: identity + "-unknown"})


FAULT_DELAY_MAX = 4 * HOUR


def play(records, roles, start, end, seed=None, rate=0.0):
    """The records of [start, end) in order of time, faults merged in. `records` are sorted by time and must reach
    back FAULT_DELAY_MAX before `start`: a fault may follow its record by as much."""
    counts, faults, waiting, serial = Counter(), Counter(), [], 0
    ended = object()

    def emit(record, kind):
        if start <= record["time"] < end:
            (faults if kind else counts)[kind or record["input"]] += 1
            return compact(record) + "\n"
        return ""

    def lines():
        nonlocal serial
        iterator = iter(records)
        while True:
            record = next(iterator, ended)
            while waiting and (record is ended or waiting[0][0] <= record["time"]):
                _, _, kind, faulty = heapq.heappop(waiting)
                yield emit(faulty, kind)
            if record is ended:
                return
            yield emit(record, None)
            if rate > 0:
                for kind, faulty in faults_of(record, roles, seed, rate):
                    serial += 1
                    heapq.heappush(waiting, (faulty["time"], serial, kind, faulty))

    return lines(), counts, faults


def write(lines, out):
    """Writes the lines to a path, or to stdout for `-`; a file is complete or not there. Returns its bytes."""
    size = 0
    if out == "-":
        for line in lines:
            sys.stdout.write(line)
        sys.stdout.flush()
        return size
    partial = f"{out}.partial"
    with open(partial, "w", encoding="utf-8", newline="\n") as file:
        for line in lines:
            file.write(line)
            size += len(line.encode())
    os.replace(partial, out)
    return size


def summary(out, size, counts, faults, extra):
    """One JSON object on stderr: what was written, by input and by fault."""
    print(compact({"out": out, "bytes": size, "records": dict(sorted(counts.items())), "faults": dict(sorted(faults.items())), **extra}), file=sys.stderr)
