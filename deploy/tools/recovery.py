#!/usr/bin/env python3
"""How long a worker takes to be ready again, through noida-db, and what a restart costs in one process.

Through the broker, each so many rounds, from the start of the process (or the joining of another) to readiness:
  clean      SIGTERM and start again, with its checkpoints
  killed     kill -9 and start again, with its checkpoints
  bare       kill -9 and start again without the partitions' checkpoints: from the journal's replay start
  empty      start with an empty state directory: the model from the topics, the partitions from the replay start
  joined     a second worker joins: partitions move to it, and the first keeps the others warm
  churn      a second worker leaves and comes back every two seconds: records a second, beside those with both there all the time
In one process: `millrace-bench --only recovery`.

Every figure: median, and least and most of its rounds. Standard library only.
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from bench import PIPELINE, ROOT, conditions, figure, report, say  # noqa: E402
from demo import Failed, Processes, free_port, until  # noqa: E402


class Place:
    """A broker with a log that is there already, and workers on it."""

    def __init__(self, options, folder, settings=None):
        self.options, self.folder, self.settings = options, folder, settings or {}
        self.processes = Processes(folder)
        self.port = free_port()

    def config(self, instance):
        path = self.folder / f"{instance}.yaml"
        if not path.exists():
            self.consoles = {**getattr(self, "consoles", {}), instance: f"127.0.0.1:{free_port()}"}
            path.write_text(json.dumps({
                "kafka": {"bootstrap": f"127.0.0.1:{self.port}"}, "admin": {"listen": self.consoles[instance]},
                "worker": {"instance": instance}, "checkpoints": {"directory": str(self.folder / f"state-{instance}"), "every": "1s"}} | self.settings))
        return ["--config", str(PIPELINE), "--config", str(path)]

    def cli(self, *arguments):
        command = [str(self.options.millrace), *arguments, *self.config("a")]
        run = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=ROOT)
        if run.returncode:
            raise Failed(f"millrace {arguments[0]} ended with status {run.returncode}:\n{run.stdout[-2000:]}{run.stderr[-2000:]}")

    def begin(self, consumes=True):
        self.processes.start("noida-db", [self.options.broker, "start", "--only", "kafka", "--kafka-port", str(self.port), "--data-dir", str(self.folder / "broker")])
        time.sleep(1)
        until("noida-db", 20, self.answers)
        self.cli("produce", str(self.options.stream), "--speed", "max", "--quiet")
        if consumes:
            self.cli("run", "--until-end")

    def answers(self):
        self.processes.check()
        try:
            self.cli("topics", "apply", str(ROOT / "topics"))
            return True
        except Failed:
            return None

    def get(self, instance, path):
        with urllib.request.urlopen(f"http://{self.consoles[instance]}{path}", timeout=2) as answer:
            return answer.read().decode()

    def start(self, instance):
        """Starts a worker; (process, seconds until it is ready)."""
        command = [str(self.options.millrace), "run", *self.config(instance)]
        began = time.monotonic()
        process = self.processes.start(f"worker-{instance}", command)
        self.ready(instance, process, began)
        return process, time.monotonic() - began

    def is_ready(self, instance):
        try:
            self.get(instance, "/readyz")
            return True
        except (OSError, urllib.error.URLError):
            return None

    def ready(self, instance, process, began):
        while time.monotonic() - began < 120:
            if process.poll() is not None:
                raise Failed(f"worker {instance} ended with status {process.returncode}: {(self.folder / f'worker-{instance}.log').read_text()[-2000:]}")
            if self.is_ready(instance):
                return
            time.sleep(0.005)
        raise Failed(f"worker {instance} is not ready after two minutes")

    def end(self, process, hard=False):
        process.kill() if hard else process.terminate()
        process.wait(60)
        self.processes.finish(process)

    def restored(self, instance):
        """Seconds that the last restore took, by the worker's own account."""
        found = re.search(r"^millrace_restore_duration_seconds\{[^}]*\} (\S+)", self.get(instance, "/metrics"), re.M)
        return float(found[1]) if found else 0.0


def restarts(place, rounds):
    seconds = {"clean": [], "killed": [], "bare": [], "empty": []}
    state = place.folder / "state-a"
    for index in range(rounds):
        say(f"restarts, round {index + 1} of {rounds}")
        process, took = place.start("a")
        seconds["clean"].append(took)
        place.end(process, hard=True)
        process, took = place.start("a")
        seconds["killed"].append(took)
        place.end(process, hard=True)
        for file in state.glob("p*.ckpt"):
            file.unlink()
        process, took = place.start("a")
        seconds["bare"].append(took)
        place.end(process)
        shutil.rmtree(state)
        process, took = place.start("a")
        seconds["empty"].append(took)
        place.end(process)
    return seconds


def joining(options, folder, rounds):
    seconds = {"joined": [], "moved": [], "kept": []}
    for index in range(rounds):
        say(f"a second worker joins, round {index + 1} of {rounds}")
        place = Place(options, folder / f"join-{index}")
        place.folder.mkdir()
        try:
            place.begin()
            place.start("a")
            _, took = place.start("b")
            seconds["joined"].append(took)
            until("the first worker to be ready again", 30, lambda: place.is_ready("a"))
            seconds["moved"].append(place.restored("b"))
            seconds["kept"].append(place.restored("a"))
        finally:
            place.processes.stop()
            shutil.rmtree(place.folder, ignore_errors=True)
    return seconds


class Churn:
    """Two workers on a backlog, in units so small that it lasts; the second one leaves and comes back."""
    SETTLED, STEADY, EVERY, ROUNDS = 2, 5, 2, 3

    def __init__(self, place):
        self.place, self.taken, self.lag = place, {}, {}

    def look(self):
        """(time, records taken of all partitions), as whoever holds each tells; of one that nobody holds, as it was told last."""
        for instance in "ab":
            try:
                text = self.place.get(instance, "/metrics")
            except (OSError, urllib.error.URLError):
                continue
            for name, into in [("partition_records_consumed", self.taken), ("consumer_lag_records", self.lag)]:
                for labels, value in re.findall(rf"^millrace_{name}\{{([^}}]*)\}} (\S+)", text, re.M):
                    into[labels] = float(value)
        return time.monotonic(), sum(self.taken.values())

    def rate(self, between):
        (began, before), _, (ended, after) = self.look(), between(), self.look()
        return (after - before) / (ended - began)

    def leave_and_come_back(self):
        for _ in range(self.ROUNDS):
            self.place.end(self.second)
            time.sleep(self.EVERY)
            self.second = self.place.processes.start("worker-b", [str(self.place.options.millrace), "run", *self.place.config("b")])
            time.sleep(self.EVERY)

    def measure(self):
        """Records a second: (both there, one coming and going)."""
        self.place.start("a")
        self.second, _ = self.place.start("b")
        until("the first worker to be ready again", 30, lambda: self.place.is_ready("a"))
        time.sleep(self.SETTLED)
        steady = self.rate(lambda: time.sleep(self.STEADY))
        churned = self.rate(self.leave_and_come_back)
        if not any(self.lag.values()):
            raise Failed("the backlog was worked off before the figure was there: a longer stream is needed")
        return steady, churned


def churning(options, folder, rounds):
    rates = {"steady": [], "churned": []}
    for index in range(rounds):
        say(f"a second worker comes and goes, round {index + 1} of {rounds}")
        place = Place(options, folder / f"churn-{index}", {"delivery": {"transaction": {"records": 10, "interval": "10ms"}}})
        place.folder.mkdir()
        try:
            place.begin(consumes=False)
            steady, churned = Churn(place).measure()
            rates["steady"].append(steady)
            rates["churned"].append(churned)
        finally:
            place.processes.stop()
            shutil.rmtree(place.folder, ignore_errors=True)
    return rates


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--millrace", type=pathlib.Path, default=ROOT / ".build/release/millrace")
    parser.add_argument("--bench", type=pathlib.Path, default=ROOT / ".build/release/millrace-bench")
    parser.add_argument("--play", type=pathlib.Path, required=True, help="the recorded stream")
    parser.add_argument("--broker", default=os.environ.get("MILLRACE_NOIDA_DB"), help="the noida-db binary (default: $MILLRACE_NOIDA_DB)")
    parser.add_argument("--rounds", type=int, default=10, help="rounds of each (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    options = parser.parse_args()
    options.millrace, options.bench, options.stream = options.millrace.resolve(), options.bench.resolve(), options.play.resolve()
    facts = conditions(options)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="millrace-recovery-"))
    try:
        say(f"in one process, {options.rounds} rounds")
        run = subprocess.run(
            [str(options.bench), "--config", str(PIPELINE), "--play", str(options.stream), "--only", "recovery", "--rounds", str(options.rounds)],
            capture_output=True, text=True, timeout=900, cwd=ROOT)
        if run.returncode:
            raise Failed(f"millrace-bench ended with status {run.returncode}: {run.stderr[-2000:]}")
        figures = json.loads(run.stdout)["figures"]
        if not options.broker:
            raise Failed("no broker: set MILLRACE_NOIDA_DB to the noida-db binary (make does)")
        place = Place(options, folder / "restarts")
        place.folder.mkdir()
        try:
            place.begin()
            seconds = restarts(place, options.rounds)
        finally:
            place.processes.stop()
        seconds.update(joining(options, folder, options.rounds))
        for key, name in [
                ("clean", "ready after a clean stop"), ("killed", "ready after kill -9"),
                ("bare", "ready without checkpoints of partitions"), ("empty", "ready with an empty disk"),
                ("joined", "second worker ready, its partitions moved"), ("moved", "of that: restoring what moved"),
                ("kept", "first worker: what stays with it, warm")]:
            figures.append(figure(name, [value * 1e3 for value in seconds[key]], "ms"))
        # Each round lasts half a minute.
        rates = churning(options, folder, min(options.rounds, 3))
        figures.append(figure("two workers, steady, units of 10 records", rates["steady"], "records/s"))
        figures.append(figure("one of them leaves and comes back every 2 s", rates["churned"], "records/s"))
        figures.append(figure("progress while it does, of the steady", [100 * b / a for a, b in zip(rates["steady"], rates["churned"])], "%"))
    except Failed as failure:
        sys.exit(f"recovery: {failure}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report(options, facts, figures)


if __name__ == "__main__":
    main()
