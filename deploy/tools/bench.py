#!/usr/bin/env python3
"""The figures of the README: release build, one run, one machine.

In one process (`millrace-bench`): the pipeline and the learner on January's flights, medians of several rounds.
Through noida-db: `millrace run` over a log that is there already, exactly-once, with broker and worker on the same cores;
events/s between the first and the last commit that its status shows, CPU and peak memory by the kernel's account of the process.

Every figure is printed with its rounds' least and most, and the conditions stand above the table. Standard library only.
"""
import argparse
import json
import os
import pathlib
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "deploy/demo"))
from demo import Failed, Processes, free_port, until  # noqa: E402

PIPELINE = ROOT / "deploy/pipelines/flight-delay/pipeline.yaml"


def say(text):
    print(f"== {text}", file=sys.stderr, flush=True)


def output(*command):
    """What a command prints; empty where it cannot run."""
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def conditions(options):
    cpu = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    swift = re.search(r"Swift version ([\w.]+)", output("swift", "--version"))
    broker = re.search(r"[\d.]+\d", output(options.broker, "--version")) if options.broker else None
    return {
        "cpu": cpu, "cores": os.cpu_count(), "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.platform(), "swift": swift[1] if swift else "unknown", "commit": output("git", "rev-parse", "--short=12", "HEAD") or "unknown",
        "changed": bool(output("git", "status", "--porcelain", "--untracked-files=no")),
        "noida_db": broker[0] if broker else "unknown", "load_before": round(os.getloadavg()[0], 2)}


def figure(name, values, unit, note=""):
    return {"name": name, "value": statistics.median(values), "least": min(values), "most": max(values), "rounds": len(values), "unit": unit, "note": note}


class WorkerRound:
    """One worker, fresh broker and fresh state, from the first record of the log to its end."""

    def __init__(self, options, folder, play):
        self.options, self.folder, self.play = options, folder, play
        self.processes = Processes(folder)

    def cli(self, *arguments):
        command = [str(self.options.millrace), *arguments, "--config", str(PIPELINE), "--config", str(self.folder / "bench.yaml")]
        run = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=ROOT)
        if run.returncode:
            raise Failed(f"millrace {arguments[0]} ended with status {run.returncode}:\n{run.stdout[-2000:]}{run.stderr[-2000:]}")

    def measure(self):
        port, listen = free_port(), f"127.0.0.1:{free_port()}"
        try:
            self.processes.start("noida-db", [self.options.broker, "start", "--only", "kafka", "--kafka-port", str(port), "--data-dir", str(self.folder / "broker")])
            (self.folder / "bench.yaml").write_text(json.dumps({
                "kafka": {"bootstrap": f"127.0.0.1:{port}"}, "admin": {"listen": listen}, "worker": {"instance": "bench"},
                "checkpoints": {"directory": str(self.folder / "state")}}))
            time.sleep(1)
            until("noida-db", 20, lambda: self.answers())
            self.cli("produce", str(self.play), "--speed", "max")
            return self.run(f"http://{listen}/api/v1/status")
        finally:
            self.processes.stop()

    def answers(self):
        self.processes.check()
        try:
            self.cli("topics", "apply", str(ROOT / "topics"))
            return True
        except Failed:
            return None

    def run(self, address):
        command = [str(self.options.millrace), "run", "--until-end", "--config", str(PIPELINE), "--config", str(self.folder / "bench.yaml")]
        began = time.monotonic()
        with open(self.folder / "run.log", "wb") as log:
            worker = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT)
        # (seconds, records) whenever the count had grown
        seen, ended = [], threading.Event()

        def watch():
            while not ended.is_set():
                try:
                    with urllib.request.urlopen(address, timeout=2) as answer:
                        status = json.load(answer)
                    # Before the worker is ready its status may say less.
                    count = sum(status.get("events", {}).get("in", {}).values())
                    if count and (not seen or count > seen[-1][1]):
                        seen.append((time.monotonic(), count))
                except (OSError, urllib.error.URLError, ValueError):
                    pass
                time.sleep(0.02)

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        guard = threading.Timer(300, worker.kill)
        guard.start()
        _, status, usage = os.wait4(worker.pid, 0)
        worker.returncode = os.waitstatus_to_exitcode(status)
        guard.cancel()
        ended.set()
        watcher.join()
        if worker.returncode:
            raise Failed(f"millrace run ended with status {worker.returncode}:\n{(self.folder / 'run.log').read_text()[-2000:]}")
        if len(seen) < 3:
            raise Failed("the worker was through before its status could be read three times: more --repetitions")
        (first, before), (last, after) = seen[0], seen[-1]
        return {
            "per_second": (after - before) / (last - first), "records": after, "seconds": time.monotonic() - began,
            "cpu": (usage.ru_utime + usage.ru_stime) / after * 1e6, "rss": usage.ru_maxrss / 1024}


def number(value):
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 1 else f"{value:.3f}" if abs(value) >= 0.01 else f"{value:.2g}"


def report(options, facts, figures):
    """Prints figures under the conditions they were taken in: a table, or JSON for machines."""
    facts["load_after"] = round(os.getloadavg()[0], 2)
    if options.json:
        print(json.dumps({"conditions": facts, "figures": figures}, indent=1))
        return
    print(f"{facts['cpu']}, {facts['cores']} cores, {facts['memory_gib']} GiB; {facts['system']}")
    print(f"Swift {facts['swift']}, release; commit {facts['commit']}{' with changes' if facts['changed'] else ''}; noida-db {facts['noida_db']}; load {facts['load_before']} before, {facts['load_after']} after")
    print(f"\n{'figure':<54} {'median':>10} {'unit':<12} {'least – most':<22} note")
    for one in figures:
        spread = f"{number(one['least'])} – {number(one['most'])}" if "least" in one else ""
        print(f"{one['name']:<54} {number(one['value']):>10} {one['unit']:<12} {spread:<22} {one.get('note', '')}".rstrip())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--millrace", type=pathlib.Path, default=ROOT / ".build/release/millrace")
    parser.add_argument("--bench", type=pathlib.Path, default=ROOT / ".build/release/millrace-bench")
    parser.add_argument("--play", type=pathlib.Path, required=True, help="the recorded stream")
    parser.add_argument("--broker", default=os.environ.get("MILLRACE_NOIDA_DB"), help="the noida-db binary (default: $MILLRACE_NOIDA_DB)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds in one process (default %(default)s)")
    parser.add_argument("--worker-rounds", type=int, default=3, help="rounds through the broker, 0 for none (default %(default)s)")
    parser.add_argument("--repetitions", type=int, default=8, help="how often the stream is repeated for a worker's round (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    options = parser.parse_args()
    options.millrace, options.bench, options.play = options.millrace.resolve(), options.bench.resolve(), options.play.resolve()
    facts = conditions(options)
    base = [str(options.bench), "--config", str(PIPELINE), "--play", str(options.play)]
    folder = pathlib.Path(tempfile.mkdtemp(prefix="millrace-bench-"))
    try:
        say(f"in one process, {options.rounds} rounds")
        run = subprocess.run([*base, "--rounds", str(options.rounds)], capture_output=True, text=True, timeout=900, cwd=ROOT)
        if run.returncode:
            raise Failed(f"millrace-bench ended with status {run.returncode}: {run.stderr[-2000:]}")
        figures = json.loads(run.stdout)["figures"]
        if options.worker_rounds:
            if not options.broker:
                raise Failed("no broker: set MILLRACE_NOIDA_DB to the noida-db binary (make does)")
            stream = folder / "stream.ndjson"
            subprocess.run([*base, "--write", str(stream), "--repetitions", str(options.repetitions)], check=True, timeout=600, cwd=ROOT)
            rounds = []
            for index in range(options.worker_rounds):
                say(f"through noida-db, round {index + 1} of {options.worker_rounds}")
                place = folder / f"round-{index}"
                place.mkdir()
                rounds.append(WorkerRound(options, place, stream).measure())
                shutil.rmtree(place, ignore_errors=True)
            of = f"{rounds[0]['records']:,} records of all inputs, 1 lane; exactly-once; broker on the same cores"
            figures += [
                figure("worker through noida-db: records", [one["per_second"] for one in rounds], "1/s", of),
                figure("worker CPU a record", [one["cpu"] for one in rounds], "us", "all threads, the client library's included; start-up too"),
                figure("worker, peak resident memory", [one["rss"] for one in rounds], "MiB")]
    except Failed as failure:
        sys.exit(f"bench: {failure}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report(options, facts, figures)


if __name__ == "__main__":
    main()
