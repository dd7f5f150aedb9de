#!/usr/bin/env python3
"""The flagship, live, in about three minutes: real flights of January 2013 through a broker, a worker and its model.

    learn      two and a half weeks of flights, a sprinkle of bad input among them; then the model is tagged `good`
    poison     three days of labels that say the opposite: the model learns them, and its loss rises
    damage     labels are true again, the model is not
    rollback   one signed command returns every worker to `good` and freezes learning; the acknowledgements are shown
    recover    three more days: the loss is back

It drives nothing but the command line of `millrace` and its console over HTTP; standard library only. The broker is noida-db,
started here on a free port, or KAFKA_BOOTSTRAP; there all topics get a prefix of this run. Everything started is stopped by its
process id, on errors and Ctrl-C too; what the story promises is checked at the end, and the exit status says whether it held.
"""
import argparse
import ctypes
import json
import os
import pathlib
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
FLIGHTS = ROOT / "deploy/pipelines/flight-delay"
# Where the pipeline names its topics, for runs on a broker that others use too.
TOPICS = {
    ("inputs", "schedules", "topic"): "flights.schedules.v1", ("inputs", "departures", "topic"): "flights.departures.v1",
    ("inputs", "arrivals", "topic"): "flights.arrivals.v1", ("predict", "output", "topic"): "flights.delay-predictions.v1",
    ("learning", "topic"): "flights.learning.v1", ("learning", "journal"): "flights.journal.v1",
    ("checkpoints", "topic"): "flights.checkpoints.v1", ("control", "topic"): "ml.control.v1", ("control", "acks"): "ml.control-acks.v1",
    ("errors", "topic"): "ml.dead-letters.v1", ("alerts", "topic"): "ml.alerts.v1"}
LEARN, POISON, DAMAGE, RECOVER, END = "2013-01-01", "2013-01-18T12:00", "2013-01-21T12:00", "2013-01-22T12:00", "2013-01-25T12:00"
DAYS = 24.5
# Faults that are no dead letters: the join or the windows deal with them.
HANDLED = ("duplicate-event", "duplicate-label", "correction", "orphan-label", "late-event")
BOLD, DIM, GREEN, RED, PLAIN = ("\033[1m", "\033[2m", "\033[32m", "\033[31m", "\033[0m") if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else ("",) * 5


class Failed(Exception):
    """The demo cannot go on; the text says why."""


def say(text=""):
    print(text, flush=True)


def title(text):
    say(f"\n{BOLD}{text}{PLAIN}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(what, seconds, condition):
    """Asks four times a second until the condition gives something; fails after so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (result := condition()) is not None:
            return result
        time.sleep(0.25)
    raise Failed(f"{what}: nothing after {seconds} s")


LIBC = ctypes.CDLL(None)


def with_parent():
    """In the child: end when the demo ends, even if it is killed. (1 is PR_SET_PDEATHSIG.)"""
    LIBC.prctl(1, signal.SIGTERM)


class Processes:
    """What the demo started, ended in reverse order."""

    def __init__(self, folder):
        self.folder, self.running = folder, []

    def start(self, name, command, environment=None):
        log = self.folder / f"{name}.log"
        with open(log, "ab") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=environment, start_new_session=True, preexec_fn=with_parent)
        self.running.append((name, process, log))
        return process

    def check(self):
        for name, process, log in self.running:
            if name != "produce" and process.poll() is not None:
                tail = "\n".join("    " + line for line in log.read_text(errors="replace").splitlines()[-15:])
                raise Failed(f"{name} ended with status {process.returncode}; its last words:\n{tail}")

    def finish(self, process):
        self.running = [entry for entry in self.running if entry[1] is not process]

    def stop(self):
        for name, process, _ in reversed(self.running):
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    say(f"{name} does not end; killing it")
                    process.kill()
                    process.wait()
        self.running = []


class Demo:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.processes = Processes(folder)
        self.prefix, self.played, self.faults, self.checks = "", {}, {}, []
        self.peak = 0.0  # the champion's worst recent loss since the poisoning began

    # What the demo drives ---------------------------------------------------------------------------------------------

    def command(self, *arguments):
        return [str(self.options.millrace), *arguments, "--config", str(FLIGHTS / "pipeline.yaml"), "--config", str(self.folder / "demo.yaml")]

    def cli(self, *arguments, seconds=60):
        """Runs a verb to its end and returns what it printed."""
        try:
            run = subprocess.run(self.command(*arguments), capture_output=True, text=True, timeout=seconds, cwd=ROOT, preexec_fn=with_parent)
        except subprocess.TimeoutExpired:
            raise Failed(f"millrace {' '.join(arguments)}: no end after {seconds} s") from None
        if run.returncode:
            raise Failed(f"millrace {' '.join(arguments)} ended with status {run.returncode}:\n{run.stdout}{run.stderr}")
        return run.stdout + run.stderr

    def get(self, path):
        """Status and body of a page of the console; (None, "") where nobody answers."""
        try:
            with urllib.request.urlopen(f"{self.console}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, ""
        except OSError:
            return None, ""

    def status(self):
        code, body = self.get("/api/v1/status")
        self.processes.check()
        return json.loads(body) if code == 200 else None

    # Starting ---------------------------------------------------------------------------------------------------------

    def broker(self):
        if given := os.environ.get("KAFKA_BOOTSTRAP"):
            self.prefix = f"demo-{secrets.token_hex(3)}."
            say(f"broker     {given} (KAFKA_BOOTSTRAP); topics of this run begin with {self.prefix}")
            return given
        binary = os.environ.get("MILLRACE_NOIDA_DB")
        if not binary or not os.access(binary, os.X_OK):
            raise Failed("no broker: set MILLRACE_NOIDA_DB to the noida-db binary (make does), or KAFKA_BOOTSTRAP")
        port = free_port()
        self.processes.start("noida-db", [binary, "start", "--only", "kafka", "--kafka-port", str(port), "--data-dir", str(self.folder / "broker")])

        def answers():
            self.processes.check()
            with socket.socket() as probe:
                return True if probe.connect_ex(("127.0.0.1", port)) == 0 else None

        until("noida-db", 20, answers)
        say(f"broker     noida-db on 127.0.0.1:{port}")
        return f"127.0.0.1:{port}"

    def configure(self, bootstrap):
        """Lays what belongs to this run over the pipeline: a second configuration file (JSON is YAML)."""
        listen = f"127.0.0.1:{free_port()}"
        self.console = f"http://{listen}"
        overlay = {
            "kafka": {"bootstrap": bootstrap}, "admin": {"listen": listen}, "worker": {"instance": "demo"},
            "checkpoints": {"directory": str(self.folder / "state"), "every": "5s"},
            "control": {"trusted_keys": [str(self.folder / "operator.pub")]},
            # The bad input is wanted here, more of it than a production pipeline should bear.
            "errors": {"then": "continue"}}
        topics = ROOT / "topics"
        if self.prefix:
            overlay["pipeline"] = f"{self.prefix[:-1]}.flight-delay"
            for path, topic in TOPICS.items():
                place = overlay
                for key in path[:-1]:
                    place = place.setdefault(key, {})
                place[path[-1]] = self.prefix + topic
            topics = self.prefixed_topics()
        (self.folder / "demo.yaml").write_text(json.dumps(overlay, indent=1))
        return topics

    def prefixed_topics(self):
        """A copy of the flagship's topics under the names of this run."""
        copy, names = self.folder / "topics", sorted(set(TOPICS.values()))
        for name in names:
            folder = copy / (self.prefix + name)
            shutil.copytree(ROOT / "topics" / name, folder)
            text = (folder / "topic.yaml").read_text()
            for other in names:
                text = text.replace(other, self.prefix + other)
            (folder / "topic.yaml").write_text(text)
        lines = (ROOT / "topics/catalog.yaml").read_text().split("topics:\n")[0]
        (copy / "catalog.yaml").write_text(lines + "topics:\n" + "".join(f"  - {self.prefix}{name}\n" for name in names))
        return copy

    def play_file(self, name, start, end, *extra):
        """Writes the records of a span as a play file and remembers what is in it."""
        out = self.folder / f"{name}.ndjson"
        run = subprocess.run([sys.executable, str(FLIGHTS / "play.py"), "--source", "january", "--from", start, "--to", end, "--out", str(out), *extra], capture_output=True, text=True, timeout=120)
        if run.returncode:
            raise Failed(f"play.py: {run.stderr}")
        summary = json.loads(run.stderr)
        summary["file"], summary["count"] = str(out), sum(summary["records"].values()) + sum(summary["faults"].values())
        return summary

    # The story --------------------------------------------------------------------------------------------------------

    HEAD = "   flights' clock     events in  predicted   joined  expired  rejected  events/s   p50/p99 ms  loss of the last 1000 labels: champion no-windows base-rate"

    def line(self, status):
        """One line of progress."""
        events, labels = status["events"], status["labels"]
        losses = " ".join(f"{number(recent(status, name)):>10}" for name in ("champion", "no-windows", "base-rate"))
        clock = status.get("event_time_ms")
        when = time.strftime("%d %b %H:%M", time.gmtime(clock / 1000)) if clock else "-"
        latency = status["latency_ms"]
        say(f"   {when:>14}  {sum(events['in'].values()):>11,}  {events['scored']:>9,}  {labels['joined']:>7,}  {labels['expired']:>7,}  {status['dead_letters']['total']:>8,}  "
            f"{events['per_second']:>8,.0f}  {number(latency['p50'], 0):>5}/{number(latency['p99'], 0):<5}  {'':28}{losses}")

    def produce(self, play, days):
        """Plays a file at the demo's pace, with a line of progress every two seconds, until the worker has taken it all in."""
        for counts, part in ((self.played, play["records"]), (self.faults, play["faults"])):
            for name, count in part.items():
                counts[name] = counts.get(name, 0) + count
        speed = DAYS * 86_400 / self.options.seconds
        player = self.processes.start("produce", self.command("produce", play["file"], "--speed", f"{speed:.0f}"))
        total = sum(self.played.values()) + sum(self.faults.values())
        deadline, spoken = time.monotonic() + days / DAYS * self.options.seconds * 2 + 60, 0.0
        before = None
        while True:
            status = self.status()
            ended = player.poll()
            if ended:
                raise Failed(f"millrace produce ended with status {ended}:\n{(self.folder / 'produce.log').read_text()[-2000:]}")
            if status:
                self.peak = max(self.peak, recent(status, "champion"))
                if time.monotonic() - spoken >= 2:
                    spoken = time.monotonic()
                    self.line(status)
                settled = (sum(status["events"]["in"].values()), status["model"]["sequence"], status["labels"]["joined"])
                if ended == 0 and settled[0] >= total and settled == before:
                    break
                before = settled
            if time.monotonic() > deadline:
                raise Failed(f"the worker has taken {sum(status['events']['in'].values()) if status else '?'} of {total} records and goes no further")
            time.sleep(0.5)
        self.processes.finish(player)
        self.line(status)
        return status

    def control(self, *arguments):
        say(f"   $ millrace control {' '.join(arguments)}")
        text = self.cli("control", *arguments, "--key", str(self.folder / "operator"))
        for line in text.strip().splitlines():
            say(f"     {line}")
        return text

    def table(self, status):
        say(f"   {'contender':<12} {'progressive: labels':>20} {'log-loss':>9} {'AUC':>7}     {'last 1000: log-loss':>19} {'AUC':>7}")
        for one in status["contenders"]:
            whole, last = one["progressive"], one["recent"]
            say(f"   {one['name']:<12} {whole['examples']:>20,} {number(whole['log_loss']):>9} {number(whole['auc']):>7}     {number(last['log_loss']):>19} {number(last['auc']):>7}")

    def expect(self, promise, held, detail=""):
        self.checks.append(held)
        say(f"   {GREEN + 'yes' if held else RED + 'NO '}{PLAIN}  {promise}{f'  {DIM}{detail}{PLAIN}' if detail else ''}")

    def run(self):
        began = time.monotonic()
        title("1  Start")
        subprocess.run([str(self.options.millrace), "control", "keygen", "--out", str(self.folder / "operator")], check=True, stdout=subprocess.DEVNULL, timeout=20)
        topics = self.configure(self.broker())
        self.cli("topics", "apply", str(topics))
        say(f"topics     applied from {topics.name}/")
        learn = self.play_file("learn", LEARN, POISON, "--faults")
        poison = self.play_file("poison", POISON, DAMAGE, "--faults", "--flip-labels", POISON, DAMAGE)
        damage = self.play_file("damage", DAMAGE, RECOVER, "--faults")
        recover = self.play_file("recover", RECOVER, END, "--faults")
        count = sum(play["count"] for play in (learn, poison, damage, recover))
        say(f"flights    {count:,} records of {DAYS} days of January 2013, {sum(sum(play['faults'].values()) for play in (learn, poison, damage, recover))} of them faulty on purpose")
        self.processes.start("millrace", self.command("run"))

        def ready():
            self.processes.check()
            return True if self.get("/readyz")[0] == 200 else None

        until("millrace run", 40, ready)
        say(f"worker     ready; {self.console}/metrics, {self.console}/api/v1/status")

        title(f"2  Learn: {learn['count']:,} records, the prediction two hours before departure, the label when the flight has landed")
        say(DIM + self.HEAD + PLAIN)
        good = self.produce(learn, 17.5)
        self.table(good)
        say("\n   This is a model to return to:")
        self.control("tag", "good", "--reason", "before the demo poisons it")

        title("3  Poison: for three days every label says the opposite")
        say(DIM + self.HEAD + PLAIN)
        self.peak = 0.0
        self.produce(poison, 3)
        title("4  Damage: labels are true again, the model is not")
        say(DIM + self.HEAD + PLAIN)
        damaged = self.produce(damage, 1)
        self.table(damaged)

        title("5  Roll back: one signed command")
        acks = self.control("rollback", "--to", "good", "--then", "freeze", "--reason", "labels were inverted for three days")
        after = until("rollback", 20, lambda: (s := self.status()) and s["model"]["lineage"] > damaged["model"]["lineage"] and s or None)
        say(f"   serving    version {after['model']['version']}, learning {after['model']['learning']}, state {after['model']['state_hash']}")

        title("6  Recover: three more days, served by the model tagged good")
        say(DIM + self.HEAD + PLAIN)
        end = self.produce(recover, 3)
        self.table(end)

        title("What was promised")
        self.verdict(good, damaged, after, acks, end)
        latency = end["latency_ms"]
        say(f"\n   {sum(end['events']['in'].values()):,} events in, {end['events']['scored']:,} predictions out, latency p50 {number(latency['p50'], 0)} ms, p99 {number(latency['p99'], 0)} ms; "
            f"{time.monotonic() - began:.0f} s in all")
        if self.prefix:
            say(f"   the topics {self.prefix}* stay on the broker")

    def verdict(self, good, damaged, after, acks, end):
        events, labels = end["events"], end["labels"]
        dead = sum(count for kind, count in self.faults.items() if kind not in HANDLED)
        before, back = recent(good, "champion"), recent(end, "champion")
        self.expect("every flight published has exactly one prediction", events["scored"] == self.played["schedules"], f"{events['scored']:,} of {self.played['schedules']:,}")
        self.expect("every record that cannot be used is a dead letter, no other is", end["dead_letters"]["total"] == dead, f"{end['dead_letters']['total']} of {dead}")
        self.expect("flights that never arrived expired without a label", labels["expired"] > 0, f"{labels['expired']}")
        self.expect("windows pay: the champion beats itself without them, and that beats the base rate",
                    whole(good, "champion") < whole(good, "no-windows") < whole(good, "base-rate"),
                    f"log-loss {number(whole(good, 'champion'))}, {number(whole(good, 'no-windows'))}, {number(whole(good, 'base-rate'))}")
        self.expect("the poisoning is seen", self.peak > 1.3 * before, f"{number(before)} → {number(self.peak)}")
        self.expect("the rollback was applied", "applied" in acks and after["model"]["learning"] == "frozen")
        self.expect("the loss is back: well under the damage, and under the base rate's again", back < 0.75 * self.peak and back < recent(end, "base-rate"),
                    f"{number(recent(damaged, 'champion'))} → {number(back)}, base rate {number(recent(end, 'base-rate'))}")



def contender(status, name):
    """A contender by name. The champion may have a name of its own: it is the one in that role."""
    return next(one for one in status["contenders"] if name in (one["name"], one["role"]))


def recent(status, name):
    value = contender(status, name)["recent"]["log_loss"]
    return float("nan") if value is None else value


def whole(status, name):
    value = contender(status, name)["progressive"]["log_loss"]
    return float("nan") if value is None else value


def number(value, digits=3):
    return "-" if value is None or value != value else f"{value:.{digits}f}"


def interrupted(*_):
    raise KeyboardInterrupt


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--millrace", type=pathlib.Path, default=ROOT / ".build/release/millrace", help="the binary (default: the release build)")
    parser.add_argument("--seconds", type=float, default=110, help="how long the flights are played, all phases together (default %(default)s)")
    parser.add_argument("--keep", action="store_true", help="keep the folder with logs, play files and state")
    options = parser.parse_args()
    options.millrace = options.millrace.resolve()
    signal.signal(signal.SIGTERM, interrupted)
    signal.signal(signal.SIGHUP, interrupted)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="millrace-demo-"))
    demo, status = Demo(options, folder), 1
    try:
        demo.run()
        status = 0 if demo.checks and all(demo.checks) else 1
    except Failed as failure:
        say(f"\n{RED}failed{PLAIN}: {failure}")
    except KeyboardInterrupt:
        say("\nstopped")
        status = 130
    finally:
        # A second Ctrl-C must not leave a broker behind.
        for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(name, signal.SIG_IGN)
        demo.processes.stop()
        if options.keep or status == 1:
            say(f"logs and state stay in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    sys.exit(status)


if __name__ == "__main__":
    main()
