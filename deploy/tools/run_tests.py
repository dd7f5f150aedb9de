#!/usr/bin/env python3
"""Runs all tests, each stage under a time limit, and closes with one line `N passed, M failed` (and what was skipped).

Stages: topics and play files; `swift build --build-tests`, which makes the binary too; what is deployed, against that binary;
`swift test`. Standard library only.
"""
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PYTHON_SECONDS, BUILD_SECONDS, SWIFT_SECONDS = 300, 3600, 1500
# Swift Testing: `✔ Test "name" passed after …`, `✘ Test name() failed after …`, `➜ Test name() skipped…`; suites and the summary are no tests.
SWIFT_LINE = re.compile(r"^[^\w\s]\s+Test (?!run with|case |.* recorded an issue).+ (?:(?P<end>passed|failed) after [0-9.]+ seconds|skipped(?:\.|:|$))")
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


def main():
    passed = failed = 0
    skipped, broken = [], []
    started = time.monotonic()

    def python(folder, environment=None):
        nonlocal passed, failed
        good, bad = python_checks(folder, skipped, environment)
        passed, failed = passed + good, failed + bad
        print(f"   {passed} passed, {failed} failed so far", flush=True)

    say("topics and play files")
    python("Tests/TopicsTests")

    say("building tests")
    last = [0.0]

    def progress(line):
        if re.search(r"(error|warning):", line):
            print(line, flush=True)
        elif time.monotonic() - last[0] > 5 and line.startswith("["):
            last[0] = time.monotonic()
            print(line[:150], flush=True)

    if status := run(["swift", "build", "--build-tests"], BUILD_SECONDS, progress):
        broken.append(f"swift build --build-tests ended with {status}")
    else:
        say("pipelines, topics, schema, command lines and units against the binary")
        binary = subprocess.run(["swift", "build", "--show-bin-path"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip() + "/millrace"
        python("Tests/DeployTests", {**os.environ, "MILLRACE": binary})

        say("swift test")

        def result(line):
            nonlocal passed, failed
            if found := SWIFT_LINE.match(line):
                if found["end"] == "passed":
                    passed += 1
                    if time.monotonic() - last[0] > 5:
                        last[0] = time.monotonic()
                        print(f"   {passed} passed, {failed} failed so far", flush=True)
                    return
                if found["end"] == "failed":
                    failed += 1
                else:
                    skipped.append(line)
            if not NOISE.match(line):
                print(line, flush=True)

        before = passed + failed
        if (status := run(["swift", "test", "--skip-build"], SWIFT_SECONDS, result)) and not failed:
            broken.append(f"swift test ended with {status}")
        if passed + failed == before:
            broken.append("swift test ran no test")

    for line in skipped:
        print(f"skipped: {line.strip()}")
    for line in broken:
        print(f"error: {line}")
    failed += len(broken)
    say(f"took {time.monotonic() - started:.0f} s")
    print(f"{passed} passed, {failed} failed" + (f", {len(skipped)} skipped" if skipped else ""), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
