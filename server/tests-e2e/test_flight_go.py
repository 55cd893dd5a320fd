"""Go's database/sql with the Flight SQL driver of Apache Arrow."""

from __future__ import annotations

import pathlib
import shutil
import subprocess

import pytest

PROGRAM = pathlib.Path(__file__).parent / "go"


@pytest.mark.skipif(not shutil.which("go"), reason="needs Go")
def test_a_go_program_writes_and_searches(server):
    done = subprocess.run(
        ["go", "run", ".", f"127.0.0.1:{server.flight_port}"],
        cwd=PROGRAM, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.splitlines() == ["2 kite", "1 owl", "true"]
