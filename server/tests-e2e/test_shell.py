"""`elanus sql`: scripts, formats, a server instead of a directory, and the prompt on a real terminal."""

from __future__ import annotations

import io
import json
import re
import subprocess

import pandas
import pyarrow as pa
import pytest
from harness import binary
from terminal import Terminal

SETUP = """
CREATE TABLE t (id BIGINT PRIMARY KEY, name VARCHAR(20), v VECTOR(6)); -- a comment; with a semicolon
INSERT INTO t VALUES (1, 'o;ne', '[1,2,3,4,5,6]'), (2, 'two', '[2,2,3,4,5,6]');
"""


def printed(*arguments) -> bytes:
    done = subprocess.run([binary(), "sql", *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.fixture(params=["data", "connect"])
def where(request, tmp_path, server):
    """A fresh database, in this process or on the server."""
    if request.param == "data":
        yield ["--data", str(tmp_path / "data")]
        return
    name = re.sub(r"\W", "_", request.node.name)[:40].lower()
    printed("--connect", server.flight, "-c", f"CREATE DATABASE {name}")
    yield ["--connect", server.flight, "--database", name]
    printed("--connect", server.flight, "--database", name, "-c", "DROP TABLE IF EXISTS t")
    printed("--connect", server.flight, "-c", f"DROP DATABASE {name}")


def run_bytes(where, text):
    return subprocess.run([binary(), "sql", *where], input=text.encode(), capture_output=True, timeout=120)


def test_a_script_may_come_from_a_file_a_pipe_or_the_command_line(where, tmp_path):
    script = tmp_path / "script.sql"
    script.write_text(SETUP)
    assert printed(*where, "-f", script).decode() == "OK\n2 rows affected\n"
    done = run_bytes(where, "SELECT count(*) AS n FROM t;\nSELECT 'a;b' AS x")
    assert done.returncode == 0, done.stderr.decode()
    assert "| 2 |" in done.stdout.decode() and "| a;b |" in done.stdout.decode()
    assert "| 2 |" in printed(*where, "-c", "SELECT count(*) AS n FROM t").decode()


def test_results_are_printed_in_four_formats(where, tmp_path):
    printed(*where, "-c", SETUP)
    query = "SELECT id, name, v FROM t ORDER BY id"
    frame = pandas.read_csv(io.BytesIO(printed(*where, "--format", "csv", "-c", query)))
    assert frame["name"].tolist() == ["o;ne", "two"]
    rows = [json.loads(line) for line in printed(*where, "--format", "json", "-c", query).splitlines()]
    assert rows[1] == {"id": 2, "name": "two", "v": [2, 2, 3, 4, 5, 6]}
    table = pa.ipc.open_stream(printed(*where, "--format", "arrow", "-c", query)).read_all()
    assert table["id"].to_pylist() == [1, 2] and table.schema.field("v").type.list_size == 6
    assert b"| two " in printed(*where, "-c", query)


def test_the_first_failing_statement_ends_the_script(where):
    done = run_bytes(where, SETUP + "SELECT 1 AS one; SELECT nme FROM t; DROP TABLE t;")
    assert done.returncode == 1
    assert b"| 1   |" in done.stdout and b"column 'nme' not found" in done.stderr
    assert b"| 2 |" in printed(*where, "-c", "SELECT count(*) AS n FROM t")


def test_a_server_that_is_not_there_is_named():
    done = subprocess.run([binary(), "sql", "--connect", "grpc://127.0.0.1:1", "-c", "SELECT 1"], capture_output=True)
    assert done.returncode == 1
    assert b"cannot connect to grpc://127.0.0.1:1" in done.stderr


def test_a_person_types_completes_and_leaves(tmp_path):
    arguments = ["--data", str(tmp_path / "data")]
    printed(*arguments, "-c", SETUP)
    terminal = Terminal(arguments, tmp_path)
    terminal.until("elanus> ")
    # A statement of two lines, its vector shortened.
    terminal.type("SELECT id, v\r")
    terminal.until("...> ")
    terminal.type("FROM t ORDER BY id LIMIT 1;\r")
    assert "[1, 2, 3, 4, .. 2 more]" in terminal.until("(1 row)")
    terminal.until("elanus> ")
    # Tab completes keywords in the case of the word, and names of columns.
    terminal.type("sel\t nam\t from t where id = 2;\r")
    assert "| two" in terminal.until("(1 row)")
    terminal.until("elanus> ")
    terminal.type("\\d t\r")
    assert "column" in terminal.until("elanus> ")
    terminal.type("\\timing\r")
    terminal.until("timing is on")
    terminal.until("elanus> ")
    # A mistake does not end the session.
    terminal.type("SELEC 1;\r")
    terminal.until("error: ")
    terminal.until("elanus> ")
    terminal.type("SELECT 41 + 1 AS answer;\r")
    assert "42" in terminal.until("time: ")
    terminal.until("elanus> ")
    # Ctrl-C drops the line, the arrow brings the last statement back.
    terminal.type("SELECT nonsense\x03")
    terminal.until("elanus> ")
    terminal.type("\x1b[A\r")
    assert "42" in terminal.until("time: ")
    terminal.until("elanus> ")
    terminal.type("\\q\r")
    assert terminal.end() == 0
    assert "SELECT 41 + 1 AS answer;" in (tmp_path / "state" / "elanus" / "history").read_text()


def test_a_person_who_waits_sees_how_far_it_is(where, tmp_path):
    terminal = Terminal(where, tmp_path)
    terminal.until("elanus> ")
    terminal.type("CREATE TABLE t (id BIGINT PRIMARY KEY, v VECTOR(8));\r")
    terminal.until("OK")
    vector = "[" + ", ".join(["random()"] * 8) + "]"
    terminal.type(f"INSERT INTO t SELECT value, {vector} FROM generate_series(1, 40000);\r")
    terminal.until("40000 rows affected")
    # Takes far longer than it needs for the first sign.
    terminal.type("CREATE INDEX far ON t USING HNSW (v vector_l2_ops) WITH (m = 16, ef_construction = 500);\r")
    terminal.until("running for ")
    terminal.until("index far: ")
    terminal.until(" of 40000 rows")
    terminal.until("OK")
    terminal.until("elanus> ")
    # A COPY counts its rows.
    rows = "SELECT a.value AS x, b.value AS y FROM generate_series(1, 3000) a CROSS JOIN generate_series(1, 3000) b"
    terminal.type(f"COPY ({rows}) TO '{tmp_path / 'rows.csv'}';\r")
    if where[0] == "--data":
        terminal.until("running for ")
        terminal.until("000 rows")
        terminal.until("9000000 rows")
    else:
        terminal.until("error: ")
    terminal.until("elanus> ")
    terminal.type("\\q\r")
    assert terminal.end() == 0
