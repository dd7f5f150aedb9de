"""What is deployed agrees with the program: its pipelines, their unit tests, and every file made from it or for it.

MILLRACE names the binary. Checks by tools that are not installed are skipped, and say so.
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import jsonschema
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
MILLRACE = os.environ.get("MILLRACE", str(ROOT / ".build/debug/millrace"))
PIPELINES = sorted(DEPLOY.glob("pipelines/*/pipeline.yaml"))
# Names of other machines would be looked up; the pipelines' defaults need none.
PLAIN = {name: value for name, value in os.environ.items() if not name.startswith(("KAFKA_", "MILLRACE_"))}


def run(*command, cwd=ROOT, text=True):
    return subprocess.run([str(part) for part in command], capture_output=True, text=text, timeout=120, cwd=cwd, env=PLAIN, stdin=subprocess.DEVNULL)


def tool(name):
    return unittest.skipUnless(shutil.which(name), f"{name} is not installed")


class Pipelines(unittest.TestCase):
    def test_every_pipeline_is_valid(self):
        found = run(MILLRACE, "check", *PIPELINES)
        self.assertEqual(found.returncode, 0, found.stdout + found.stderr)
        self.assertEqual(found.stdout.count("\nvalid: ") + found.stdout.startswith("valid: "), len(PIPELINES), found.stdout)

    def test_the_unit_tests_of_every_pipeline_pass(self):
        for pipeline in PIPELINES:
            with self.subTest(pipeline.parent.name):
                self.assertTrue(list(pipeline.parent.glob("*.test.yaml")))
                found = run(MILLRACE, "test", pipeline.parent)
                self.assertEqual(found.returncode, 0, found.stdout + found.stderr)
                self.assertRegex(found.stdout, r"(?m)^[1-9][0-9]* passed, 0 failed$")

    def test_the_declarations_of_topics_are_valid(self):
        found = run(MILLRACE, "topics", "check", ROOT / "topics", "--config", PIPELINES[0])
        self.assertEqual(found.returncode, 0, found.stdout + found.stderr)


class Schema(unittest.TestCase):
    PATH = DEPLOY / "schema/pipeline.schema.json"

    def test_it_is_the_one_the_program_prints(self):
        self.assertEqual(self.PATH.read_text(), run(MILLRACE, "config", "schema").stdout, "millrace config schema > deploy/schema/pipeline.schema.json")

    def test_every_pipeline_passes_it_and_an_unknown_key_does_not(self):
        schema = json.loads(self.PATH.read_text())
        jsonschema.Draft202012Validator.check_schema(schema)
        check = jsonschema.Draft202012Validator(schema)
        for path in PIPELINES:
            with self.subTest(path.parent.name):
                # PyYAML reads YAML 1.1, where a bare `on` is true; the program and editors read 1.2.
                text = re.sub(r"(?m)^(\s*)on:", r'\1"on":', path.read_text())
                value = yaml.safe_load(text)
                self.assertEqual([error.message for error in check.iter_errors(value)], [])
                self.assertTrue(list(check.iter_errors({**value, "predikt": {}})))


class CommandLine(unittest.TestCase):
    """Command lines written into files are ones that the program takes."""

    def accepts(self, *words):
        # Flags and their values are checked before help is given.
        found = run(MILLRACE, *words, "--help")
        self.assertEqual(found.returncode, 0, found.stderr)
        self.assertTrue(found.stdout.startswith("usage: millrace"), found.stdout[:200])

    def test_those_of_the_compose_file(self):
        services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
        ours = [service["command"] for service in services.values() if service["image"] == "millrace"]
        self.assertTrue(ours)
        for words in ours:
            self.accepts(*words)

    def test_that_of_the_dockerfile(self):
        self.accepts(*json.loads(re.search(r"(?m)^CMD (\[.*\])$", (DEPLOY / "Dockerfile").read_text())[1]))

    def test_that_of_the_unit(self):
        line = re.search(r"(?m)^ExecStart=\S+/millrace (.*)$", (DEPLOY / "systemd/millrace@.service").read_text())[1]
        self.accepts(*line.replace("%i", "flight-delay").split())

    def test_exit_codes_that_need_no_restart_are_those_of_the_manual(self):
        unit = (DEPLOY / "systemd/millrace@.service").read_text()
        stated = set(re.search(r"(?m)^RestartPreventExitStatus=(.*)$", unit)[1].split())
        self.assertEqual(stated, {"64", "65", "77", "78"})

    def test_paths_of_the_dockerfile_exist(self):
        for source in re.findall(r"(?m)^COPY (?!--)(\S+) \S+$", (DEPLOY / "Dockerfile").read_text()):
            self.assertTrue((ROOT / source).exists(), source)


class Generated(unittest.TestCase):
    def test_every_verb_has_help(self):
        listed = run(MILLRACE, "completions", "fish").stdout
        self.assertIn("rollback", listed)
        for verb in ("run", "check", "produce", "tap", "test", "replay", "demo", "control rollback", "control status", "topics apply", "checkpoint ls", "model ls"):
            with self.subTest(verb):
                found = run(MILLRACE, "help", *verb.split())
                self.assertTrue(found.returncode == 0 and len(found.stdout.splitlines()) > 5, found.stdout + found.stderr)

    @tool("mandoc")
    def test_the_manual_page_has_no_faults(self):
        with tempfile.NamedTemporaryFile("w", suffix=".1") as page:
            page.write(run(MILLRACE, "man").stdout)
            page.flush()
            found = run("mandoc", "-T", "lint", "-W", "error", page.name)
            self.assertEqual(found.stdout + found.stderr, "")

    def test_the_bash_completion_is_a_script(self):
        with tempfile.NamedTemporaryFile("w", suffix=".bash") as script:
            script.write(run(MILLRACE, "completions", "bash").stdout)
            script.flush()
            found = run("bash", "-n", script.name)
            self.assertEqual((found.returncode, found.stderr), (0, ""))


class Files(unittest.TestCase):
    @tool("yamllint")
    def test_yaml_is_clean(self):
        rules = "{extends: default, rules: {line-length: {max: 180}, document-start: disable, truthy: {check-keys: false}, comments: {min-spaces-from-content: 1}, braces: {max-spaces-inside: 1}}}"
        found = run("yamllint", "--strict", "-d", rules, "deploy", "topics")
        self.assertEqual(found.returncode, 0, found.stdout)

    @tool("shellcheck")
    def test_shell_scripts_are_clean(self):
        found = run("shellcheck", ".ci/run", *sorted(DEPLOY.glob("tools/*.sh")))
        self.assertEqual(found.returncode, 0, found.stdout)

    @tool("systemd-analyze")
    def test_the_unit_is_understood(self):
        with tempfile.TemporaryDirectory() as folder:
            unit = pathlib.Path(folder) / "millrace@test.service"
            # The program stands elsewhere here, and the manual may not be installed.
            text = (DEPLOY / "systemd/millrace@.service").read_text().replace("/usr/local/bin/millrace", MILLRACE)
            unit.write_text(text)
            found = run("systemd-analyze", "verify", unit)
            ours = [line for line in found.stderr.splitlines() if "millrace" in line]
            self.assertEqual(ours, [])

    @tool("dpkg-query")
    @tool("ldd")
    def test_the_image_has_every_library_the_program_needs(self):
        release = pathlib.Path("/etc/os-release").read_text()
        if "VERSION_CODENAME=bookworm" not in release:
            self.skipTest("not the release of the image")
        image = (DEPLOY / "Dockerfile").read_text().split("FROM debian:")[1]
        needed = set()
        for line in run("ldd", MILLRACE).stdout.splitlines():
            path = line.partition("=> ")[2].split(" ")[0]
            # Swift's own libraries are linked in, and what others stand on comes with them.
            if path and re.search(r"/lib(rdkafka|simdjson|yaml|microhttpd|crypto|stdc\+\+)[-.]", path):
                owner = run("dpkg-query", "-S", pathlib.Path(path).resolve()).stdout or run("dpkg-query", "-S", path).stdout
                needed.add(owner.split(":")[0])
        self.assertGreater(len(needed - {""}), 3, needed)
        for package in needed - {""}:
            self.assertRegex(image, rf"\s{re.escape(package)}\s")


if __name__ == "__main__":
    unittest.main()
