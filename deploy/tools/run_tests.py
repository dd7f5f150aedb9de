#!/usr/bin/env python3
"""Runs all tests, each stage under a time limit, and closes with one line `N passed, M failed` (and what was skipped).

Stages: topics and play files; `swift build --build-tests`, which makes the binary too; what is deployed, against that binary;
`swift test`. With --kafka, instead, the suites that need a broker on Apache Kafka: all rows of the fault matrix on one broker, those
about several on three. Results of single tests go to .build/fault-results, for fault_matrix.py. Standard library only.
"""
import argparse
import datetime
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PYTHON_SECONDS, BUILD_SECONDS, SWIFT_SECONDS, KAFKA_SECONDS = 300, 3600, 1800, 2400
# What needs a broker: the client's own tests, and the whole worker. On three brokers, the rows that are about them.
ON_ONE, ON_THREE = "KafkaTests\\.(BrokerTests|LostAnswerTests)|IntegrationTests\\.LiveTests", "row (4|20|22|23|24): "
# Swift Testing: `✔ Test "name" passed after …`, `✘ Test name() failed after …`, `➜ Test name() skipped…`; suites and the summary are no tests.
SWIFT_LINE = re.compile(r"^[^\w\s]\s+Test (?!run with|case |.* recorded an issue)(?P<name>.+?)(?: with \d+ test cases)? (?:(?P<end>passed|failed) after [0-9.]+ seconds|skipped(?:\.|:|$))")
# `✘ Test "name" recorded an issue at File.swift:1:2: Expectation failed: …`; what stands on the lines after it begins with `↳`.
ISSUE = re.compile(r"^\S\s+Test (?P<name>.+?) recorded an issue(?: with .+?)? at (?P<what>.*)")
# What says nothing new: starts, suites that passed, builds, and the empty run of the other test library.
NOISE = re.compile(r"^(◇|↳ (Testing Library|Target Platform)|✔ (Suite|Test case)|\S?\s*$|\[\d+/\d+\]|Build|Test Suite '(All tests|debug\.xctest|Selected tests)'|\s+Executed 0 tests| to \".*\" (started|passed)|.* to \".*\" started\.$)")


def run(command, seconds, on_line, environment=None):
    """Exit status of the command, 124 where it ran out of time; each line of its output goes to `on_line`. What it started is ended with it."""
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=environment, start_new_session=True)

    def give_up(*_):
        raise TimeoutError

    previous = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        for line in process.stdout:
            on_line(line.rstrip("\n"))
        return process.wait()
    except TimeoutError:
        # Why not read on to the end: a process that a test left behind may hold the pipe open for ever.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        print(f"error: no end after {seconds} s, killed: {' '.join(command)}", flush=True)
        return 124
    except KeyboardInterrupt:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
        raise
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


def say(text):
    print(f"== {text}", file=sys.stderr, flush=True)


def python_checks(folder, skipped, environment=None):
    """(passed, failed) of the unittest files of a folder; what was skipped joins the list."""
    lines = []
    status = run([sys.executable, "-m", "unittest", "discover", "-v", "-s", folder], PYTHON_SECONDS, lines.append, environment)
    ran = next((int(m[1]) for line in reversed(lines) if (m := re.match(r"Ran (\d+) test", line))), 0)
    missed = len([line for line in lines if re.match(r"(FAIL|ERROR): ", line) and "[" not in line]) or (status != 0)
    passed_over = [line for line in lines if " ... skipped " in line]
    skipped += passed_over
    if status:
        print("\n".join(lines), flush=True)
    return max(0, ran - len(passed_over) - int(missed)), int(missed)


class Tally:
    """What the tests said, counted and by name."""

    def __init__(self):
        self.passed = self.failed = 0
        self.skipped, self.broken = [], []
        # Each failed test with the first of what it said: told once more at the end, where the last lines are all that is kept.
        self.failures, self.issues = [], {}
        self.results = {}
        self.last = 0.0

    def so_far(self):
        print(f"   {self.passed} passed, {self.failed} failed so far", flush=True)

    def python(self, folder, environment=None):
        good, bad = python_checks(folder, self.skipped, environment)
        self.passed, self.failed = self.passed + good, self.failed + bad
        self.so_far()

    def line(self, line):
        """One line of `swift test`; what says something new is printed."""
        if found := ISSUE.match(line):
            said = self.issues.setdefault(found["name"].strip('"`').removesuffix("()"), [])
            if len(said) < 3:
                said.append(found["what"][:1_500])
        if found := SWIFT_LINE.match(line):
            name = found["name"].strip('"`').removesuffix("()")
            self.results[name] = found["end"] or "skipped"
            if found["end"] == "passed":
                self.passed += 1
                if time.monotonic() - self.last > 5:
                    self.last = time.monotonic()
                    self.so_far()
                return
            if found["end"] == "failed":
                self.failed += 1
                self.failures.append((name, self.issues.pop(name, [])))
            else:
                self.skipped.append(line)
        if not NOISE.match(line):
            print(line, flush=True)

    def swift(self, seconds, tier, *arguments, environment=None):
        self.results = {}
        before = (self.passed + self.failed, self.failed)
        if (status := run(["swift", "test", "--skip-build", *arguments], seconds, self.line, environment)) and self.failed == before[1]:
            self.broken.append(f"swift test ended with {status}")
        if self.passed + self.failed == before[0]:
            self.broken.append("swift test ran no test")
        folder = ROOT / ".build/fault-results"
        folder.mkdir(parents=True, exist_ok=True)
        entry = {"date": datetime.date.today().isoformat(), "results": self.results}
        (folder / f"{tier}.json").write_text(json.dumps(entry, indent=1, sort_keys=True))

    def build(self):
        def progress(line):
            if re.search(r"(error|warning):", line):
                print(line, flush=True)
            elif time.monotonic() - self.last > 5 and line.startswith("["):
                self.last = time.monotonic()
                print(line[:150], flush=True)

        if status := run(["swift", "build", "--build-tests"], BUILD_SECONDS, progress):
            self.broken.append(f"swift build --build-tests ended with {status}")
        return not status

    def close(self, started):
        for line in self.skipped:
            print(f"skipped: {line.strip()}")
        for name, said in self.failures:
            print(f"failed: {name}", *(f"    {text}" for text in said), sep="\n")
        for line in self.broken:
            print(f"error: {line}")
        self.failed += len(self.broken)
        say(f"took {time.monotonic() - started:.0f} s")
        print(f"{self.passed} passed, {self.failed} failed" + (f", {len(self.skipped)} skipped" if self.skipped else ""), flush=True)
        return 1 if self.failed else 0


def everything(tally):
    say("topics and play files")
    tally.python("Tests/TopicsTests")
    say("building tests")
    if tally.build():
        say("pipelines, topics, schema, command lines and units against the binary")
        binary = subprocess.run(["swift", "build", "--show-bin-path"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip() + "/millrace"
        tally.python("Tests/DeployTests", {**os.environ, "MILLRACE": binary})
        say("swift test")
        tally.swift(SWIFT_SECONDS, "noida-db")


def on_kafka(tally, script, version):
    """Single broker first. The tests start and stop the brokers themselves, and clean up at their exit."""
    say("building tests")
    if not tally.build():
        return
    environment = {name: value for name, value in os.environ.items() if name != "KAFKA_BOOTSTRAP"}
    environment |= {"MILLRACE_KAFKA": str(script), "MILLRACE_FAULTS": "all", "MILLRACE_TEST_KAFKA": version}
    say(f"Apache Kafka {version}, one broker")
    tally.swift(KAFKA_SECONDS, f"kafka-{version}", "--filter", ON_ONE, environment=environment)
    say(f"Apache Kafka {version}, three brokers")
    tally.swift(KAFKA_SECONDS, f"kafka-{version}x3", "--filter", ON_THREE, environment=environment | {"MILLRACE_TEST_BROKERS": "3"})


def on_given(tally, bootstrap):
    """A cluster that runs already: no broker is stopped."""
    say("building tests")
    if tally.build():
        say(f"the cluster at {bootstrap}")
        tally.swift(KAFKA_SECONDS, "given", "--filter", ON_ONE, environment={**os.environ, "MILLRACE_FAULTS": "all"})


def soaking(tally, minutes, seed):
    """Faults at random for so long, on noida-db or where MILLRACE_KAFKA or KAFKA_BOOTSTRAP says."""
    say("building tests")
    if tally.build():
        say(f"a soak of {minutes:g} minutes")
        environment = {**os.environ, "MILLRACE_SOAK_MINUTES": f"{minutes:g}", "MILLRACE_SOAK_SEED": seed}
        tally.swift(int(minutes * 180) + 900, "soak", "--filter", "row 52: ", environment=environment)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kafka", action="store_true", help="on Apache Kafka: MILLRACE_KAFKA names the script that starts it, else KAFKA_BOOTSTRAP a running one")
    parser.add_argument("--version", default="4.1", choices=["4.1", "3.6"], help="of Apache Kafka")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="only the soak, for so long")
    parser.add_argument("--seed", default="", help="of the soak; else one is drawn")
    options = parser.parse_args()
    tally, started = Tally(), time.monotonic()
    script, bootstrap = os.environ.get("MILLRACE_KAFKA"), os.environ.get("KAFKA_BOOTSTRAP")
    if options.soak:
        soaking(tally, options.soak, options.seed)
    elif not options.kafka:
        everything(tally)
    elif script:
        on_kafka(tally, pathlib.Path(script).resolve(), options.version)
    elif bootstrap:
        on_given(tally, bootstrap)
    else:
        print("error: no Apache Kafka: set MILLRACE_KAFKA to a script that starts one, or KAFKA_BOOTSTRAP to a running one", file=sys.stderr)
        return 1
    return tally.close(started)


if __name__ == "__main__":
    sys.exit(main())
