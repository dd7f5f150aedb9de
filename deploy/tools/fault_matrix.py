#!/usr/bin/env python3
"""The fault matrix: which fault is injected how, which tests hold it, and what they said last. Makes Tests/README.md.

    fault_matrix.py --write    takes the results of the last runs into Tests/fault-results.json and writes Tests/README.md
    fault_matrix.py --check    fails where rows, test names or the page do not match the sources

A test on a broker begins with its row (`row 15: …`); tests of other suites are named in ROWS. Standard library only.
"""
import argparse
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "Tests/README.md"
STORED = ROOT / "Tests/fault-results.json"
FRESH = ROOT / ".build/fault-results"
SIMULATION = "through every fault, nothing is lost, doubled or changed"
# Row: what happens, how it is made to happen, what must hold, and tests that do not name their row.
FORGETFUL = "a coordinator that forgets who joined, again and again, costs a session, and no worker gives way to nobody"
ROWS = {
    1: ("killed with records taken, none applied", "failpoint `after_poll`", "each event one prediction, each label one example, state as computed again", [SIMULATION]),
    2: ("killed with a unit computed, nothing sent", "failpoints `after_apply`, `after_begin`", "as 1", [SIMULATION]),
    3: ("killed with outputs sent, no offsets", "failpoint `after_produce`", "as 1; what was aborted is never visible", [SIMULATION]),
    4: ("killed with offsets sent, no commit", "failpoint `after_send_offsets`", "as 1", [SIMULATION]),
    5: ("killed during a commit", "failpoint `during_commit`; proxy: EndTxn lost, late, or unanswered", "as 1, both outcomes", [SIMULATION]),
    6: ("killed after a commit, before its checkpoint", "failpoint `after_commit`, labels held back", "waiting rows as they were scored", [SIMULATION]),
    7: ("killed at each call of a checkpoint", "failpoints `checkpoint_*`", "the last good checkpoint loads", [SIMULATION]),
    8: ("torn and reordered writes", "every crash state of a simulated disk", "nothing half-written loads", ["after a crash at any call, with any part of the unsynced lost, the newest committed checkpoint loads"]),
    9: ("bit flips, truncation, zeroed pages", "each byte of a checkpoint", "refused with a reason, the older one used", ["a flipped bit anywhere is refused", "a file cut anywhere is refused", "a zeroed page anywhere is refused", "broken and lost checkpoints cost time and nothing else"]),
    10: ("checkpoint ahead of the committed offsets", "facts of a restart", "skipped", ["each fact that differs refuses a checkpoint for its own reason", SIMULATION]),
    11: ("disk full, EIO, failing fsync", "64 KiB file system; failpoints `:full`, `:io`", "scoring goes on, an alarm", []),
    12: ("checkpoint of another partition or pipeline", "files exchanged", "refused by fingerprint", []),
    13: ("retention passed the replay start", "records deleted, checkpoints gone", "exit 65 and the reason", []),
    14: ("committed offsets gone", "group deleted", "the journal's last record supplies them", []),
    15: ("stopped in a transaction, woken later", "SIGSTOP at `after_produce`, past the session time-out", "the woken one commits nothing old", [SIMULATION]),
    16: ("two workers with one name", "a second process, a directory of its own", "one ends with 75, the other goes on", ["of two that bear one name one gives way, however busy they are", "who stays beyond two sessions lives", FORGETFUL]),
    17: ("transaction timed out on the broker", "failpoint `:hang` beyond the time-out", "the same bytes again under a new producer", [SIMULATION]),
    18: ("every error code in every transactional call", "librdkafka's mock cluster", "the action of its class, no hang", ["no error of a transactional call goes unanswered, and none with a fatal flag is retried"]),
    19: ("answers to written records lost", "proxy cuts and swallows Produce replies", "as 1", [SIMULATION]),
    20: ("EndTxn comes again in the next transaction", "proxy holds it and lets it go later", "the producer was made anew, so it is fenced", ["a producer is in doubt after a lost answer, and after no other transaction", SIMULATION]),
    21: ("coordinator away in a transaction", "proxy cuts each kind of transactional request; asked late and never answered", "the call resumes, no abort after a commit; no request outlives its transaction and ends the process", ["a producer that asks in vain is given up for another one, at whatever it was doing", SIMULATION]),
    22: ("all brokers away", "proxy refuses every connection; broker stopped and killed", "back-pressure, bounded memory, goes on", [SIMULATION]),
    23: ("rolling restarts under load", "three brokers, cleanly and by SIGKILL", "as 1, progress between; who was fenced by nobody goes on", [FORGETFUL]),
    24: ("too few replicas in sync", "two of three brokers gone", "writing stops, nothing is lost", []),
    25: ("members come and go", "a second worker joins and leaves", "as 1, progress in each round", [SIMULATION]),
    26: ("rebalance in commit, restore, model change", "failpoints `:hang` while a member joins", "as 1", [SIMULATION]),
    27: ("coordinator does not hear a member", "proxy swallows Heartbeat, JoinGroup, SyncGroup", "unit and state dropped, made again", [SIMULATION]),
    28: ("inputs of a partition split", "assignment by the lane", "cannot happen", [SIMULATION]),
    29: ("duplicates, disorder, lateness upstream", "generated streams", "as the oracle says", ["killed at any moment, every event has one prediction and every label one example", "the order of records within the lateness changes neither state nor later reads"]),
    30: ("impossible timestamps", "generated", "dead letters; no watermark jumps", ["the future is measured from the record's own timestamp", "no event time traps, however far"]),
    31: ("clock jumps", "a library in the process: an hour ahead, an hour back, frozen; simulated clock", "no effect on what is computed, commits go on", [SIMULATION]),
    32: ("malformed input", "differential fuzzing", "dead letter, never a trap", ["both decoders agree on every truncation and every byte in every place"]),
    33: ("oversized record in or out", "records beyond the limits", "dead letter by reference", ["an oversized record is rejected by reference"]),
    34: ("a record that kills the process", "a planted trap", "isolated within three restarts", ["a record that kills the process is isolated within three restarts, the rest flows"]),
    38: ("killed between a kept version and the word of it", "failpoint `between_chunks_and_manifest`", "it is told by the next process", []),
    39: ("replicas differ", "one bit of a weight flipped, once and in every fold", "noticed at the next claim, folded again; who still differs ends with 65; nobody loads it", ["a replica with a flipped bit tells so at its next claim, and a fold from the last confirmed version heals it"]),
    40: ("the learning log cut, an empty disk", "records of the log deleted, state directory gone", "starts from what was published, or ends with 65 and the reason", ["a fold that starts at any kept version ends where the whole log ends"]),
    42: ("rollbacks during load", "commands, one with the worker killed", "each lineage as the version it returned to", []),
    43: ("forged, expired, replayed, foreign commands", "a corpus of them", "refused with a reason, no effect", ["forged, expired, foreign and malformed commands change nothing"]),
    44: ("killed between a command's effect and its answer", "failpoint `before_ack`", "one effect, and the answer comes", []),
    45: ("labels before, without and in floods around their event", "generated streams", "as the oracle says", ["a label that comes while its event is being scored joins when the row is there"]),
    46: ("partition count raised live", "admin", "exit 78, with what to do", ["partitions added under the worker stop it, with what to do", "changed partition counts stop the worker, with what they mean"]),
    47: ("a stranger's open transaction on an input or a log", "a producer that does not end", "its partition waits, nothing is lost; told by name, and when it is over", ["a hanging transaction on the learning log is told by name, and when it is over"]),
    48: ("certificates, passwords and rights that are not in order", "TLS, SASL and ACLs: other authority, other host, expired, wrong password, a right taken away under the worker", "exit 77 at the start with the reason; a right that goes stops the worker by name, and nothing is lost with it back", ["a refused call names the right that it needs", "what tells of a refusal is told apart from what passes by itself"]),
    49: ("less than a process needs", "`prlimit`: descriptors, address space; a memory cgroup; one processor", "told at the start, or ended and gone on from where it stopped; a backlog worked off in bounded memory", []),
    50: ("a rolling deploy of other learning settings, of another engine, of other features", "a worker that declares another rate, then a charter command; a build of another engine's name; another declaration", "the log is obeyed, the charter is adopted by all at one place; who cannot fold it ends with 78, the others agree", ["a charter keeps what stays the same, begins the rest anew, and opens a lineage"]),
    52: ("a soak", "faults of rows 1 to 27 and 42 at random, by a seed, under a constant load, for as long as `make soak MINUTES=n` says", "as 1; sums add up; memory of a worker that is spared from kills does not grow", []),
    53: ("a topic made anew, or cut, under its name", "topic deleted and made again, shorter or as long", "exit 65, nothing is mixed", ["a topic made anew while the worker was away is refused, even where it is as long as before", "a topic that is shorter than what was read of it is refused", "a learning log made anew while the worker was away is refused, and nothing is forgotten in silence", "a log that ends before what is known of it is told at the second look, and not at the first"]),
    54: ("producers of inputs place keys differently", "keys placed by both partitioners", "told, the inputs named", ["producers that place keys by different partitioners are told by the inputs' names", "inputs whose producers place keys differently are told, by name, once"]),
    55: ("what became of the records", "a hostile stream, a lost disk, a kill, a rebalance", "every record is in one counted state; metrics, `account` and topics say the same, by partition", ["a bare replay that begins in the middle follows the journal to its end, and has its sums from there"]),
}
# How a tier is called in the page, in this order.
TIERS = {"noida-db": "make test (noida-db)", "kafka-4.1": "Kafka 4.1", "kafka-4.1x3": "Kafka 4.1, three brokers", "kafka-3.6": "Kafka 3.6", "kafka-3.6x3": "Kafka 3.6, three brokers", "soak": "make soak"}
SIGNS = {"passed": "passed", "failed": "**failed**", "skipped": "skipped"}
INTRODUCTION = """# Tests

`make test` runs everything that a fresh machine can judge, with noida-db as the broker. `make test-kafka` runs what needs a broker
again on Apache Kafka: one broker, then three (`MILLRACE_KAFKA` names the script that starts them; `KAFKA_VERSION=3.6` another version).
What was skipped is printed as skipped, with the reason, and counts for nothing.

    make test                                       all tests; the quick rows of the table below
    MILLRACE_FAULTS=all make test                   with the long rows, on noida-db
    make test-kafka                                 every row, on Apache Kafka
    swift test --filter 'row 15'                    one row (MILLRACE_NOIDA_DB or MILLRACE_KAFKA set)
    MILLRACE_PATIENCE=6 …                           waits so many times longer than on a quiet machine (3) before giving up
    MILLRACE_KEEP_SCENES=1 …                        leaves logs and state of each scene in the temporary directory
    deploy/tools/fault_matrix.py --write            this page, from the results of the last runs

**How a row is judged.** The real `millrace` runs on a real broker; records are sent that say in a header what is true of them; a fault is
injected; at the end the checker (`Tests/RunChecker`) reads the topics and computes everything again from the inputs, the journal and the
learning log: every prediction, example, dead letter, offset and state, bit for bit. It believes nothing that the worker says of itself.

**How faults are injected.** `MILLRACE_FAIL=after_produce:4` lets the process kill itself at the fourth passing of that point; `:stop`, `:hang=<ms>`,
`:full` and `:io` do what they say, `2+` means every passing from the second on (`Sources/Worker/Failpoints.swift` lists the points). A proxy
(`Tests/Support/KafkaProxy.swift`) stands between worker and brokers, reads the frames, and delays, swallows, holds or cuts single requests
and replies. Brokers are stopped, killed and started again by the tests themselves.

**What noida-db cannot judge**: it has no transaction time-out, never takes partitions from a silent member, and takes offsets from a member
of an older generation. Rows that rest on these are skipped there.
"""


def tests_in_sources():
    """Name of every test in the sources: the file it stands in."""
    found = {}
    for path in sorted((ROOT / "Tests").rglob("*.swift")):
        for name in re.findall(r"func `([^`]+)`", path.read_text()):
            found.setdefault(name, path.relative_to(ROOT))
    return found


def row_of(name):
    match = re.match(r"row (\d+): ", name)
    return int(match[1]) if match else None


def faults(tests):
    """What does not fit together, in words."""
    wrong = [f"a test names a row that the table lacks: {name}" for name in tests if row_of(name) and row_of(name) not in ROWS]
    wrong += [f"row {row} names a test that does not exist: {name}" for row, entry in ROWS.items() for name in entry[3] if name not in tests]
    return wrong


def tests_of(row, tests):
    return [name for name in tests if row_of(name) == row] + ROWS[row][3]


def page(tests, stored):
    lines = [INTRODUCTION, "## The fault matrix", ""]
    tiers = [tier for tier in TIERS if tier in stored]
    lines += [f"Last results: " + "; ".join(f"{TIERS[tier]}: {stored[tier]['date']}" for tier in tiers) + ".", ""] if tiers else []
    lines += ["| row | fault | injected | must hold | test | last result |", "| --- | --- | --- | --- | --- | --- |"]
    for row, (fault, how, holds, _) in sorted(ROWS.items()):
        first = True
        names = tests_of(row, tests)
        for name in names or [None]:
            results = []
            for tier in tiers:
                result = stored[tier]["results"].get(name)
                if result:
                    results.append(f"{TIERS[tier]}: {SIGNS[result]}")
            short = "not automated yet" if name is None else name if name in ROWS[row][3] else name.split(": ", 1)[1]
            where = "" if name is None else f" (`{tests[name].parts[1]}`)"
            lead = [str(row), fault, how, holds] if first else ["", "", "", ""]
            lines.append("| " + " | ".join(lead + [short + where, "; ".join(results) or "–"]) + " |")
            first = False
    return "\n".join(lines) + "\n"


def merge():
    """The results of the last runs over those that are stored; a run of some tests leaves the others as they were."""
    stored = json.loads(STORED.read_text()) if STORED.exists() else {}
    for path in sorted(FRESH.glob("*.json")) if FRESH.exists() else []:
        fresh = json.loads(path.read_text())
        entry = stored.setdefault(path.stem, {"results": {}})
        entry["date"] = fresh["date"]
        entry["results"].update(fresh["results"])
    return stored


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--write", action="store_true")
    choice.add_argument("--check", action="store_true")
    options = parser.parse_args()
    tests = tests_in_sources()
    wrong = faults(tests)
    if options.write and not wrong:
        stored = merge()
        used = {name for row in ROWS for name in tests_of(row, tests)}
        for entry in stored.values():
            entry["results"] = {name: result for name, result in sorted(entry["results"].items()) if name in used}
        STORED.write_text(json.dumps(stored, indent=1, sort_keys=True) + "\n")
        PAGE.write_text(page(tests, stored))
    elif not wrong:
        stored = json.loads(STORED.read_text()) if STORED.exists() else {}
        if not PAGE.exists() or PAGE.read_text() != page(tests, stored):
            wrong.append("Tests/README.md is stale: deploy/tools/fault_matrix.py --write")
    print("\n".join(wrong) or f"{len(ROWS)} rows", file=sys.stderr if wrong else sys.stdout)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
