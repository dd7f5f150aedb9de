"""The catalogue of topics keeps its promises: schemas, examples, partitions, pipelines, the generated page."""
import json
import pathlib
import re
import sys
import unittest

import jsonschema
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "deploy/tools"))
import topics_readme  # noqa: E402

TOPICS = topics_readme.topics()
PIPELINES = {path.parent.name: yaml.safe_load(path.read_text()) for path in sorted(ROOT.glob("deploy/pipelines/*/pipeline.yaml"))}
INTERNAL = ("learning", "journal", "checkpoints")


def schema(name):
    return json.loads((ROOT / "topics" / name / "value.schema.json").read_text())


def plain(text):
    """Text without `${NAME}` and `${NAME:default}`, as with an empty environment."""
    return re.sub(r"\$\{[A-Z_]+(?::-?([^}]*))?\}", lambda match: match[1] or "", text)


def topics_of(pipeline):
    """Every topic a pipeline names: place in the declaration -> topic."""
    found = {f"inputs.{name}": value["topic"] for name, value in pipeline["inputs"].items()}
    found["predict.output"] = pipeline["predict"]["output"]["topic"]
    found["learning"] = pipeline["learning"]["topic"]
    found["journal"] = pipeline["learning"]["journal"]
    found["checkpoints"] = pipeline["checkpoints"].get("topic")
    found["control"], found["acks"] = pipeline["control"]["topic"], pipeline["control"]["acks"]
    found["errors"], found["alerts"] = pipeline["errors"]["topic"], pipeline.get("alerts", {}).get("topic")
    return {place: plain(topic) for place, topic in found.items() if topic}


class Catalogue(unittest.TestCase):
    def test_every_folder_is_in_the_catalogue_and_the_reverse(self):
        folders = sorted(path.name for path in (ROOT / "topics").iterdir() if path.is_dir())
        self.assertEqual(folders, sorted(TOPICS))

    def test_every_topic_says_what_it_must(self):
        owners = yaml.safe_load((ROOT / "topics/catalog.yaml").read_text())["owners"]
        for name, topic in TOPICS.items():
            with self.subTest(name):
                self.assertEqual(topic["topic"], name)
                self.assertRegex(name, r"^[a-z]+\.[a-z-]+\.v[1-9][0-9]*$")
                self.assertIn(topic["owner"], owners)
                self.assertGreater(topic["partitions"], 0)
                self.assertIn(topic["config"]["cleanup.policy"], ("delete", "compact"))
                self.assertTrue(topic["written_by"] and topic["read_by"] and topic["description"])
                self.assertLessEqual(topic["max_record_bytes"], topic["config"].get("max.message.bytes", 1_048_588))

    def test_co_partitioned_topics_have_equal_partitions_and_partitioner(self):
        for name, topic in TOPICS.items():
            for other in topic.get("co_partitioned_with", []):
                with self.subTest(f"{name} with {other}"):
                    self.assertEqual(topic["partitions"], TOPICS[other]["partitions"])
                    if "field" in topic["key"]:
                        self.assertEqual(topic["key"]["partitioner"], TOPICS[other]["key"]["partitioner"])

    def test_the_page_is_current(self):
        self.assertEqual((ROOT / "topics/README.md").read_text(), topics_readme.render(), "run deploy/tools/topics_readme.py")


class Schemas(unittest.TestCase):
    def test_public_json_has_a_schema_with_examples_and_binary_has_none(self):
        for name, topic in TOPICS.items():
            with self.subTest(name):
                folder = ROOT / "topics" / name
                if topic["value"]["format"] != "json":
                    self.assertEqual([path.name for path in folder.iterdir()], ["topic.yaml"])
                    continue
                jsonschema.Draft202012Validator.check_schema(schema(name))
                self.assertEqual(schema(name)["$id"], f"urn:millrace:topic:{name}:value")
                self.assertTrue(list(folder.glob("examples/valid/*.json")) and list(folder.glob("examples/invalid/*.json")))

    def test_valid_examples_pass_and_invalid_ones_fail(self):
        for path in sorted(ROOT.glob("topics/*/examples/*/*.json")):
            with self.subTest(str(path.relative_to(ROOT))):
                validator = jsonschema.Draft202012Validator(schema(path.parents[2].name))
                faults = [error.message for error in validator.iter_errors(json.loads(path.read_text()))]
                self.assertEqual(bool(faults), path.parent.name == "invalid", faults)


class Pipelines(unittest.TestCase):
    def test_there_are_two(self):
        self.assertEqual(sorted(PIPELINES), ["card-fraud", "flight-delay"])

    def test_every_topic_a_pipeline_names_is_in_the_catalogue(self):
        for name, pipeline in PIPELINES.items():
            for place, topic in topics_of(pipeline).items():
                with self.subTest(f"{name}: {place}"):
                    self.assertIn(topic, TOPICS)

    def test_inputs_journal_and_predictions_have_equal_partitions_and_the_log_has_one(self):
        for name, pipeline in PIPELINES.items():
            with self.subTest(name):
                named = topics_of(pipeline)
                counts = {place: TOPICS[topic]["partitions"] for place, topic in named.items()}
                wide = [place for place in named if place.startswith("inputs.") or place in ("journal", "predict.output")]
                self.assertEqual(len({counts[place] for place in wide}), 1, counts)
                self.assertEqual((counts["learning"], counts["control"]), (1, 1))

    def test_inputs_are_keyed_as_their_topics_say(self):
        for name, pipeline in PIPELINES.items():
            for label, value in pipeline["inputs"].items():
                with self.subTest(f"{name}: {label}"):
                    topic = TOPICS[plain(value["topic"])]
                    self.assertEqual(value["key"], topic["key"]["field"])

    def test_declared_fields_are_those_of_the_schema(self):
        types = {"number": {"number", "integer"}, "integer": {"integer"}, "string": {"string"}, "boolean": {"boolean"}, "time": {"string"}}
        for name, pipeline in PIPELINES.items():
            for label, value in pipeline["inputs"].items():
                properties = schema(plain(value["topic"]))["properties"]
                for field, declared in value["fields"].items():
                    with self.subTest(f"{name}: {label}.{field}"):
                        kind = re.match("[a-z]+", declared)[0]
                        stated = properties[field].get("type", "string" if "enum" in properties[field] else None)
                        self.assertIn(stated, types[kind])
                        if kind == "time":
                            self.assertEqual(properties[field]["x-unit"], "RFC 3339")


if __name__ == "__main__":
    unittest.main()
