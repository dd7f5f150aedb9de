"""Play files: sorted, cut anywhere, without leakage, the same for the same seed, valid but for the declared faults."""
import collections
import json
import pathlib
import subprocess
import sys
import unittest

import jsonschema
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
FLIGHTS = ROOT / "deploy/pipelines/flight-delay"
CARDS = ROOT / "deploy/pipelines/card-fraud"
WEEK = ("--from", "2013-01-07", "--to", "2013-01-12")


def play(folder, *arguments):
    """(lines, summary) of one run of a play script."""
    run = subprocess.run([sys.executable, str(folder / "play.py"), *arguments], capture_output=True, text=True, timeout=120)
    if run.returncode:
        raise AssertionError(run.stderr)
    return run.stdout.splitlines(), json.loads(run.stderr)


def flights(*arguments):
    return play(FLIGHTS, "--source", "january", *arguments)


def validators(folder):
    declared = yaml.safe_load((folder / "pipeline.yaml").read_text())["inputs"]
    topics = {name: value["topic"].rpartition("}")[2] for name, value in declared.items()}
    return {name: jsonschema.Draft202012Validator(json.loads((ROOT / "topics" / topic / "value.schema.json").read_text())) for name, topic in topics.items()}


class Flights(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lines, cls.summary = flights(*WEEK)
        cls.records = [json.loads(line) for line in cls.lines]

    def test_records_are_in_order_of_time_and_within_the_span(self):
        times = [record["time"] for record in self.records]
        self.assertEqual(times, sorted(times))
        self.assertTrue(1357516800000 <= times[0] and times[-1] < 1357948800000)
        self.assertEqual(sum(self.summary["records"].values()), len(self.records))

    def test_every_record_passes_the_schema_of_its_topic(self):
        checks = validators(FLIGHTS)
        for record in self.records[::7]:
            checks[record["input"]].validate(record["value"])

    def test_nothing_is_known_before_it_happened(self):
        seen = collections.defaultdict(dict)
        for record in self.records:
            seen[record["value"]["flight_id"]][record["input"]] = record
        whole = [flight for flight in seen.values() if len(flight) == 3]
        self.assertGreater(len(whole), 3000)
        for flight in whole:
            self.assertLess(flight["schedules"]["time"], flight["arrivals"]["time"])
            self.assertLess(flight["departures"]["time"], flight["arrivals"]["time"])
            self.assertFalse({"dep_delay", "arr_delay", "air_time", "tailnum"} & set(flight["schedules"]["value"]))

    def test_ids_are_unique_in_each_input(self):
        ids = collections.Counter((record["input"], record["value"]["flight_id"]) for record in self.records)
        self.assertEqual(max(ids.values()), 1)

    def test_a_span_cut_in_two_is_the_span_faults_included(self):
        both, _ = flights(*WEEK, "--faults", "--fault-rate", "0.05")
        first, _ = flights("--from", "2013-01-07", "--to", "2013-01-09T13:37:00Z", "--faults", "--fault-rate", "0.05")
        second, _ = flights("--from", "2013-01-09T13:37:00Z", "--to", "2013-01-12", "--faults", "--fault-rate", "0.05")
        self.assertEqual(first + second, both)

    def test_faults_are_additional_and_of_every_kind(self):
        faulty, summary = flights(*WEEK, "--faults", "--fault-rate", "0.05")
        extra = collections.Counter(faulty)
        extra.subtract(self.lines)
        self.assertTrue(all(count >= 0 for count in extra.values()))
        self.assertEqual(sum(extra.values()), sum(summary["faults"].values()))
        self.assertEqual(len(summary["faults"]), 15, summary["faults"])

    def test_flipped_labels_are_the_opposite_and_nothing_else_changes(self):
        flipped, _ = flights(*WEEK, "--flip-labels", "2013-01-09", "2013-01-10")
        changed = 0
        for before, after in zip(self.records, map(json.loads, flipped), strict=True):
            inside = before["input"] == "arrivals" and 1357689600000 <= before["time"] < 1357776000000
            if not inside:
                self.assertEqual(before, after)
                continue
            changed += 1
            self.assertNotEqual(before["value"]["arr_delay"] > 15, after["value"]["arr_delay"] > 15)
        self.assertGreater(changed, 500)

    def test_cancelled_and_diverted_flights_never_arrive(self):
        _, month = flights()
        self.assertEqual(month["records"], {"schedules": 27004, "departures": 26483, "arrivals": 26398})
        self.assertEqual(month["positive_share"], 0.2273)


class Cards(unittest.TestCase):
    WORLD = ("--cards", "300", "--days", "7")

    def test_the_same_seed_is_the_same_world_and_another_is_not(self):
        once, _ = play(CARDS, *self.WORLD, "--faults")
        self.assertEqual(once, play(CARDS, *self.WORLD, "--faults")[0])
        self.assertNotEqual(once, play(CARDS, *self.WORLD, "--faults", "--seed", "2")[0])

    def test_records_are_in_order_valid_and_labelled_after_the_payment(self):
        lines, summary = play(CARDS, *self.WORLD)
        records = [json.loads(line) for line in lines]
        self.assertEqual([r["time"] for r in records], sorted(r["time"] for r in records))
        checks, paid = validators(CARDS), {}
        for record in records:
            checks[record["input"]].validate(record["value"])
            if record["input"] == "payments":
                paid[record["value"]["payment_id"]] = record["time"]
            elif record["input"] == "outcomes":
                self.assertLess(paid[record["value"]["payment_id"]], record["time"])
        self.assertEqual(len(paid), summary["records"]["payments"])
        self.assertTrue(0.02 < summary["positive_share"] < 0.12)


if __name__ == "__main__":
    unittest.main()
