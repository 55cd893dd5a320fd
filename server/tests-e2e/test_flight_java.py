"""The JDBC driver and the Flight SQL client of Java, with the project in connectors/java."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest
from harness import REPOSITORY

PROJECT = REPOSITORY / "connectors" / "java"


@pytest.mark.skipif(not (shutil.which("mvn") and shutil.which("java")), reason="needs Maven and a JDK")
def test_the_java_project_passes_its_tests_and_its_example_runs(server, tmp_path):
    where = f"127.0.0.1:{server.flight_port}"

    def maven(*goals):
        done = subprocess.run(
            ["mvn", "--batch-mode", "--quiet", *goals],
            cwd=tmp_path / "project", capture_output=True, text=True, timeout=900,
            env=os.environ | {"ELANUS_FLIGHT": where, "MAVEN_OPTS": "--add-opens=java.base/java.nio=ALL-UNNAMED"},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
        return done.stdout

    shutil.copytree(PROJECT, tmp_path / "project", ignore=shutil.ignore_patterns("target"))
    maven("test")
    printed = maven("exec:java", "-Dexec.mainClass=dev.elanus.Example", f"-Dexec.args={where}")
    # Maven colours even what it is silent about.
    assert re.sub(r"\x1b\[[0-9;]*m", "", printed).split() == ["owl", "0.141", "kite", "1.273"]
