"""The SQL door with pyarrow's plain Flight client and with SQLAlchemy."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.flight as flight
import pytest
import sqlalchemy

SQL = "type.googleapis.com/arrow.flight.protocol.sql."


def field(number: int, data: bytes) -> bytes:
    """A length-delimited field of a protobuf message."""
    length, size = b"", len(data)
    while size >= 0x80:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + data


def statement(sql: str) -> flight.FlightDescriptor:
    message = field(1, (SQL + "CommandStatementQuery").encode()) + field(2, field(1, sql.encode()))
    return flight.FlightDescriptor.for_command(message)


@pytest.fixture
def client(server):
    with flight.connect(server.flight) as client:
        yield client


def rows(client, sql: str) -> pa.Table:
    info = client.get_flight_info(statement(sql))
    parts = [client.do_get(endpoint.ticket).read_all() for endpoint in info.endpoints]
    table = pa.concat_tables(parts)
    assert table.schema.equals(info.schema), f"{table.schema}\nannounced:\n{info.schema}"
    return table


def test_plain_flight_reads_what_was_announced(client):
    table = rows(client, "SELECT 1 AS one, 'x' AS letter, CAST(NULL AS BIGINT) AS nothing")
    assert table.to_pylist() == [{"one": 1, "letter": "x", "nothing": None}]


def test_the_schema_of_a_statement_can_be_asked_for_alone(client):
    schema = client.get_schema(statement("SELECT 1 AS one, 'x' AS letter")).schema
    assert schema.names == ["one", "letter"]


def test_a_large_answer_comes_in_batches_and_can_be_left_early(client):
    sql = "SELECT a.value AS a, b.value AS b FROM generate_series(1, 3000) a, generate_series(1, 3000) b"
    info = client.get_flight_info(statement(sql))
    reader = client.do_get(info.endpoints[0].ticket)
    first = reader.read_chunk().data
    assert 0 < first.num_rows < 9_000_000
    reader.cancel()
    assert rows(client, "SELECT count(*) AS n FROM elanus_catalog.collections").num_rows == 1


def running(client, what: str) -> bool:
    found = rows(client, "SELECT statement FROM elanus_catalog.queries")["statement"].to_pylist()
    return any(what in text for text in found)


ENDLESS = "SELECT count(*) AS n FROM generate_series(1, 100000) a, generate_series(1, 100000) b, generate_series(1, 100000) c"


READ = (
    "import sys, pyarrow.flight as f\n"
    "f.connect(sys.argv[1]).do_get(f.Ticket(bytes.fromhex(sys.argv[2]))).read_all()\n"
)


@pytest.mark.parametrize("how", ["cancelled", "reader gone"])
def test_a_query_ends_when_it_is_cancelled_and_when_its_reader_has_gone_away(server, client, how):
    info = client.get_flight_info(statement(ENDLESS))
    ticket = info.endpoints[0].ticket.ticket.hex()
    reader = subprocess.Popen([sys.executable, "-c", READ, server.flight, ticket], stderr=subprocess.PIPE)
    end = time.monotonic() + 60
    while not running(client, "generate_series(1, 100000)"):
        assert time.monotonic() < end and reader.poll() is None
    if how == "cancelled":
        (result,) = client.do_action(flight.Action("CancelFlightInfo", field(1, info.serialize())))
        assert result.body.to_pybytes() == b"\x08\x01", "cancelled"
    else:
        reader.kill()
    assert reader.wait(timeout=60) != 0
    reader.stderr.close()
    while running(client, "generate_series(1, 100000)"):
        assert time.monotonic() < end


def test_a_statement_timeout_is_an_error_that_names_it(server):
    with flight.connect(server.flight) as client:
        client.get_flight_info(statement("SET elanus.statement_timeout = 100"))
        with pytest.raises(flight.FlightTimedOutError, match="100 ms"):
            rows(client, ENDLESS)


def test_sqlalchemy_runs_statements_and_inspects(server):
    import flightsql.sqlalchemy  # noqa: F401: registers the dialect

    host = server.flight.removeprefix("grpc://")
    engine = sqlalchemy.create_engine(f"datafusion+flightsql://{host}?insecure=True")
    with engine.connect() as connection:
        assert connection.execute("SELECT 41 + 1 AS answer").fetchall() == [(42,)]
    data = np.random.default_rng(1).random((5, 3), dtype=np.float32)
    import adbc_driver_flightsql.dbapi as flightsql

    with flightsql.connect(server.flight, autocommit=True) as connection, connection.cursor() as cursor:
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(data.reshape(-1)), 3)
        cursor.adbc_ingest("of_sqlalchemy", pa.table({"id": np.arange(5), "v": vectors}), mode="replace")
        inspector = sqlalchemy.inspect(engine)
        assert "default" in inspector.get_schema_names()
        assert "of_sqlalchemy" in inspector.get_table_names(schema="default")
        assert [column["name"] for column in inspector.get_columns("of_sqlalchemy", schema="default")] == ["id", "v"]
        cursor.execute("DROP TABLE of_sqlalchemy")
