"""The SQL door with ADBC, as a data engineer uses it."""

from __future__ import annotations

import subprocess
import sys

import adbc_driver_flightsql.dbapi as flightsql
import adbc_driver_manager
import numpy as np
import pandas
import polars
import pyarrow as pa
import pytest

DIM = 8


def vectors(rows: int, dim: int = DIM, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).random((rows, dim), dtype=np.float32)


def as_column(data: np.ndarray) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(data.reshape(-1)), data.shape[1])


@pytest.fixture
def connection(server):
    with flightsql.connect(server.flight, autocommit=True) as connection:
        yield connection


@pytest.fixture
def cursor(connection):
    with connection.cursor() as cursor:
        yield cursor


@pytest.fixture
def table(cursor, request):
    name = f"adbc_{request.node.name.split('[')[0]}"[:60]
    cursor.execute(f"DROP TABLE IF EXISTS {name}")
    yield name
    cursor.execute(f"DROP TABLE IF EXISTS {name}")


@pytest.fixture
def filled(cursor, table):
    """1,000 rows: id, v and n = id % 10."""
    rows = pa.table({"id": np.arange(1000), "v": as_column(vectors(1000)), "n": np.arange(1000, dtype=np.int32) % 10})
    assert cursor.adbc_ingest(table, rows, mode="create") == 1000
    return table


def test_execute_answers_with_typed_rows(cursor):
    cursor.execute("SELECT 1 AS one, 'a' AS letter, CAST(NULL AS DOUBLE) AS nothing")
    assert [column[0] for column in cursor.description] == ["one", "letter", "nothing"]
    assert cursor.fetchall() == [(1, "a", None)]


def test_definitions_and_changes_have_happened_when_execute_returns(cursor, table):
    cursor.execute(f"CREATE TABLE {table} (id BIGINT PRIMARY KEY, v VECTOR(2), price REAL)")
    cursor.execute(f"INSERT INTO {table} VALUES (1, '[1,2]', 0.5), (2, '[3,4]', 1.5), (3, ARRAY[5,6], 2.5)")
    cursor.execute(f"DELETE FROM {table} WHERE price > 2")
    cursor.execute(f"SELECT id FROM {table} ORDER BY v <-> '[3,3]' LIMIT 5")
    assert cursor.fetchall() == [(2,), (1,)]


def test_updates_tell_how_many_rows_they_wrote(connection, table):
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {table} (id BIGINT PRIMARY KEY, v VECTOR(2))")
    statement = adbc_driver_manager.AdbcStatement(connection.adbc_connection)
    statement.set_sql_query(f"INSERT INTO {table} VALUES (1, '[1,2]'), (2, '[3,4]')")
    assert statement.execute_update() == 2
    statement.set_sql_query(f"DELETE FROM {table} WHERE id = 1")
    assert statement.execute_update() == 1
    statement.close()


@pytest.mark.parametrize("bound", ["list", "text", "fixed"])
@pytest.mark.parametrize("mark", ["?", "$1"])
def test_a_vector_is_bound_as_list_text_or_fixed_size_list(cursor, filled, bound, mark):
    query = vectors(1, seed=7)[0]
    values = {
        "list": pa.array([query.tolist()]),
        "text": pa.array(["[" + ",".join(str(x) for x in query.tolist()) + "]"]),
        "fixed": as_column(query.reshape(1, -1)),
    }[bound]
    cursor.execute(
        f"SELECT id FROM {filled} ORDER BY v <-> {mark} LIMIT 3", parameters=pa.record_batch([values], names=["q"])
    )
    expected = np.argsort(((vectors(1000) - query) ** 2).sum(axis=1), kind="stable")[:3]
    assert [row[0] for row in cursor.fetchall()] == expected.tolist()


def test_a_batch_of_parameters_is_a_batch_of_searches_in_order(cursor, filled):
    queries = vectors(20, seed=9)
    parameters = pa.record_batch([as_column(queries), pa.array([5] * 20, pa.int32())], names=["q", "n"])
    cursor.adbc_prepare(f"SELECT id FROM {filled} WHERE n < $2 ORDER BY v <-> $1 LIMIT 4")
    cursor.execute(f"SELECT id FROM {filled} WHERE n < $2 ORDER BY v <-> $1 LIMIT 4", parameters=parameters)
    found = np.array(cursor.fetchall()).reshape(20, 4)
    data = vectors(1000)
    legal = np.flatnonzero(np.arange(1000) % 10 < 5)
    for query, ids in zip(queries, found):
        order = legal[np.argsort(((data[legal] - query) ** 2).sum(axis=1), kind="stable")[:4]]
        assert ids.tolist() == order.tolist()


def test_executemany_is_one_write(cursor, table):
    cursor.execute(f"CREATE TABLE {table} (id BIGINT PRIMARY KEY, v VECTOR(2), t VARCHAR(10), x REAL)")
    cursor.executemany(
        f"INSERT INTO {table} VALUES (?, ?, ?, ?)", [(i, [i, i + 1], f"t{i}", i / 3) for i in range(500)]
    )
    cursor.execute(f"SELECT count(*), sum(id), max(t) FROM {table}")
    assert cursor.fetchall() == [(500, 124750, "t99")]
    # One bad row: none of them is there.
    with pytest.raises(Exception, match="dimension"):
        cursor.executemany(f"INSERT INTO {table} VALUES (?, ?, 'x', 0)", [(1000, [1, 2]), (1001, [1, 2, 3])])
    cursor.execute(f"SELECT count(*) FROM {table}")
    assert cursor.fetchone() == (500,)


def test_partitions_are_read_by_another_process_after_the_connection_is_closed(server, cursor, table):
    def rows(start, end):
        return pa.table({"id": np.arange(start, end), "v": as_column(vectors(end - start)), "n": np.arange(start, end) % 10})

    cursor.adbc_ingest(table, rows(0, 9_000), mode="create")
    cursor.execute(f"CREATE INDEX ON {table} USING FLAT (v vector_l2_ops)")  # these rows are in a segment now
    cursor.adbc_ingest(table, rows(9_000, 12_000), mode="append")
    with flightsql.connect(server.flight, autocommit=True) as connection, connection.cursor() as other:
        partitions, schema = other.adbc_execute_partitions(f"SELECT id, n FROM {table} WHERE n < 5")
    assert schema.names == ["id", "n"] and len(partitions) == 2
    cursor.execute(f"DELETE FROM {table} WHERE id < 6000")  # after the moment of the result
    read = (
        "import sys, adbc_driver_flightsql.dbapi as f\n"
        "with f.connect(sys.argv[1], autocommit=True) as c, c.cursor() as k:\n"
        "    for part in sys.argv[2:]:\n"
        "        k.adbc_read_partition(bytes.fromhex(part))\n"
        "        print(*[row[0] for row in k.fetchall()])\n"
    )
    command = [sys.executable, "-c", read, server.flight, *[part.hex() for part in partitions]]
    for _ in range(2):
        printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
        assert sorted(int(text) for text in printed.split()) == [i for i in range(12_000) if i % 10 < 5]


def test_get_info_names_the_server_and_the_quote(connection):
    info = connection.adbc_get_info()
    assert info["vendor_name"] == "Elanus"
    assert info["vendor_version"]


def test_get_objects_has_catalog_database_table_and_columns(connection, filled):
    objects = connection.adbc_get_objects(depth="all", table_name_filter=filled).read_all().to_pylist()
    (catalog,) = [entry for entry in objects if entry["catalog_name"] == "elanus"]
    (database,) = [entry for entry in catalog["catalog_db_schemas"] if entry["db_schema_name"] == "default"]
    (found,) = database["db_schema_tables"]
    assert found["table_name"] == filled and found["table_type"] == "TABLE"
    assert [column["column_name"] for column in found["table_columns"]] == ["id", "v", "n"]


def test_get_table_schema_has_the_vector_type(connection, filled):
    schema = connection.adbc_get_table_schema(filled)
    assert schema.field("v").type == pa.list_(pa.field("item", pa.float32(), nullable=False), DIM)
    assert schema.field("id").type == pa.int64()


def test_get_table_types(connection):
    assert "TABLE" in connection.adbc_get_table_types()


@pytest.mark.parametrize("batches", [1, 7])
def test_ingest_creates_appends_and_replaces(cursor, table, batches):
    data = pa.table({"id": np.arange(70), "v": as_column(vectors(70))})
    chunks = data.to_batches(max_chunksize=70 // batches)
    reader = pa.RecordBatchReader.from_batches(data.schema, chunks)
    assert cursor.adbc_ingest(table, reader, mode="create") == 70
    with pytest.raises(Exception, match="already exists"):
        cursor.adbc_ingest(table, data, mode="create")
    assert cursor.adbc_ingest(table, data, mode="append") == 70
    cursor.execute(f"SELECT count(*), count(DISTINCT id) FROM {table}")
    assert cursor.fetchone() == (140, 70)
    assert cursor.adbc_ingest(table, data.slice(0, 5), mode="replace") == 5
    cursor.execute(f"SELECT count(*) FROM {table}")
    assert cursor.fetchone() == (5,)
    assert cursor.adbc_ingest(table, data.slice(0, 5), mode="create_append") == 5
    with pytest.raises(Exception, match="dimension|dim"):
        cursor.adbc_ingest(table, pa.table({"id": [1], "v": as_column(vectors(1, 3))}), mode="append")
    cursor.execute(f"SELECT count(*) FROM {table}")
    assert cursor.fetchone() == (10,)


def test_pandas_and_polars_read_through_it(connection, cursor, filled):
    query = f"SELECT n, count(*) AS rows FROM {filled} GROUP BY n ORDER BY n"
    frame = pandas.read_sql(query, connection)
    assert frame["rows"].tolist() == [100] * 10
    frame = polars.read_database(query, connection)
    assert frame["rows"].to_list() == [100] * 10
    cursor.execute(query)
    assert cursor.fetch_df().equals(pandas.read_sql(query, connection))
    cursor.execute(query)
    assert cursor.fetch_arrow_table().num_rows == 10


def test_a_user_and_a_password_are_taken(server):
    options = {"username": "somebody", "password": "anything"}
    with flightsql.connect(server.flight, db_kwargs=options, autocommit=True) as connection:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            assert cursor.fetchone() == (1,)


def test_a_session_keeps_its_settings_and_another_does_not_have_them(server, cursor):
    cursor.execute("SET elanus.ef_search = 321")
    cursor.execute("SHOW elanus.ef_search")
    assert "321" in str(cursor.fetchall())
    with flightsql.connect(server.flight, autocommit=True) as other, other.cursor() as theirs:
        theirs.execute("SHOW elanus.ef_search")
        assert "321" not in str(theirs.fetchall())


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("SELEC 1", "SELEC"),
        ("SELECT nme FROM {t}", "column 'nme' not found"),
        ("SELECT * FROM nowhere_at_all", "nowhere_at_all"),
        ("SELECT id FROM {t} ORDER BY v <-> '[1,2]' LIMIT 1", "has 8"),
        ("SELECT 1; SELECT 2", "several statements"),
        ("SELECT id FROM {t} WHERE id = $1", "1 parameters"),
    ],
)
def test_errors_say_what_is_wrong(cursor, filled, statement, message):
    with pytest.raises(Exception) as caught:
        cursor.execute(statement.format(t=filled))
        cursor.fetchall()
    assert message in str(caught.value)
    # The connection is as good as before.
    cursor.execute("SELECT 1")
    assert cursor.fetchone() == (1,)
