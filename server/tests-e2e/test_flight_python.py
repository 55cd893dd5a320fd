"""The package `elanus` of connectors/python, and its README as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from harness import binary

PACKAGE = Path(__file__).parents[2] / "connectors" / "python"
sys.path.insert(0, str(PACKAGE / "src"))

import elanus  # noqa: E402


@pytest.fixture
def db(server):
    with elanus.connect(server.flight) as connection:
        connection.sql("DROP TABLE IF EXISTS from_python")
        yield connection
        connection.sql("DROP TABLE IF EXISTS from_python")


def test_numpy_goes_in_and_every_frame_comes_out(db):
    data = np.random.default_rng(3).random((200, 6), dtype=np.float32)
    assert db.ingest("from_python", {"id": np.arange(200), "v": data, "n": np.arange(200) % 4}, mode="create") == 200
    nearest = db.sql("SELECT id, n FROM from_python ORDER BY v <-> ? LIMIT 5", data[17])
    assert len(nearest) == 5 and nearest.rows()[0]["id"] == 17
    assert nearest.arrow().column("id").to_pylist() == nearest.pandas()["id"].tolist()
    assert nearest.polars()["id"].to_list() == nearest.arrow().column("id").to_pylist()
    batch = db.sql_many("SELECT id FROM from_python ORDER BY v <-> ? LIMIT 1", [(row,) for row in data[:30]])
    assert batch.arrow().column("id").to_pylist() == list(range(30))


def test_rows_of_parameters_are_inserted(db):
    db.sql("CREATE TABLE from_python (id BIGINT PRIMARY KEY, v VECTOR(2), t VARCHAR(10))")
    db.sql_many("INSERT INTO from_python VALUES (?, ?, ?)", [(i, np.array([i, 1.0]), f"t{i}") for i in range(9)])
    assert db.sql("SELECT count(*) AS n FROM from_python").rows() == [{"n": 9}]


@pytest.mark.parametrize("kind", ["arrow", "pandas", "polars"])
def test_frames_are_ingested(db, kind):
    table = pa.table({"id": [1, 2], "t": ["a", "b"]})
    rows = {"arrow": lambda: table, "pandas": table.to_pandas, "polars": lambda: elanus.Result(table).polars()}[kind]()
    assert db.ingest("from_python", rows, mode="replace") == 2
    assert [row["t"] for row in db.sql("SELECT t FROM from_python ORDER BY id").rows()] == ["a", "b"]


def test_what_is_no_table_is_named(db):
    with pytest.raises(TypeError, match="dictionary of columns"):
        db.ingest("from_python", 7)


def test_the_program_of_the_readme_runs(tmp_path):
    (program,) = re.findall(r"```python\n(.*?)```", (PACKAGE / "README.md").read_text(), re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(PACKAGE / "src"), "ELANUS_BIN": str(binary())},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "a title" in done.stdout


def test_a_server_that_cannot_start_says_why(tmp_path):
    (tmp_path / "file").write_text("not a directory")
    with pytest.raises(RuntimeError, match="did not start"):
        elanus.serve(tmp_path / "file", binary=binary())
