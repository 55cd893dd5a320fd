"""Changing rows with SQL clients, beside the Milvus door."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import adbc_driver_flightsql.dbapi as flightsql
import adbc_driver_manager
import pymilvus
import pytest


@pytest.fixture
def cursor(server):
    with flightsql.connect(server.flight, autocommit=True) as connection, connection.cursor() as cursor:
        yield cursor


@pytest.fixture
def table(cursor, request):
    name = f"changes_{request.node.name.split('[')[0]}"[:60]
    cursor.execute(f"DROP TABLE IF EXISTS {name}")
    cursor.execute(f"CREATE TABLE {name} (id BIGINT PRIMARY KEY, n BIGINT, v VECTOR(2) NOT NULL) WITH (unique_key = true)")
    cursor.executemany(f"INSERT INTO {name} VALUES (?, ?, ?)", [(number, 0, [number, 0.5]) for number in range(20)])
    yield name
    cursor.execute(f"DROP TABLE IF EXISTS {name}")


def rows(cursor, query):
    cursor.execute(query)
    return cursor.fetchall()


def test_prepared_updates_are_seen_through_both_doors(cursor, table, client):
    cursor.executemany(f"UPDATE {table} SET n = ? WHERE id = ?", [(7, 3), (8, 4), (9, 4)])
    assert rows(cursor, f"SELECT id, n FROM {table} WHERE n > 0 ORDER BY id") == [(3, 7), (4, 9)]
    client.create_index(table, index_params(client))
    client.load_collection(table)
    found = client.search(table, data=[[4.0, 0.5]], limit=2, filter="n > 0", output_fields=["n"])
    assert [(hit["id"], hit["entity"]["n"]) for hit in found[0]] == [(4, 9), (3, 7)]
    # An old value is found no more, nor is an old vector.
    assert client.query(table, filter="id == 4 and n == 0", output_fields=["id"]) == []
    cursor.execute(f"UPDATE {table} SET v = ? WHERE id = 4", ([100.0, 0.5],))
    assert client.search(table, data=[[100.0, 0.5]], limit=1)[0][0]["id"] == 4
    assert client.search(table, data=[[4.0, 0.5]], limit=1)[0][0]["id"] != 4


def index_params(client):
    params = client.prepare_index_params()
    params.add_index("v", index_type="HNSW", metric_type="L2", params={"M": 8, "efConstruction": 64})
    return params


def test_no_increment_of_clients_at_the_same_time_is_lost(server, cursor, table):
    def increment(_):
        with flightsql.connect(server.flight, autocommit=True) as connection, connection.cursor() as mine:
            for _ in range(25):
                mine.execute(f"UPDATE {table} SET n = n + 1 WHERE id = 1")

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(increment, range(4)))
    assert rows(cursor, f"SELECT n FROM {table} WHERE id = 1") == [(100,)]


def test_on_conflict_takes_parameters(cursor, table):
    statement = f"INSERT INTO {table} VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET n = {table}.n + EXCLUDED.n"
    cursor.execute(statement, (1, 5, [1.0, 1.0]))
    cursor.execute(statement, (1, 6, [1.0, 1.0]))
    cursor.execute(statement, (50, 7, [1.0, 1.0]))
    assert rows(cursor, f"SELECT id, n FROM {table} WHERE n > 0 ORDER BY id") == [(1, 11), (50, 7)]


def test_merge_deletes_and_inserts(cursor, table):
    cursor.execute(
        f"MERGE INTO {table} USING (VALUES (1, 10), (99, 20)) AS s (id, n) ON {table}.id = s.id "
        f"WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (id, n, v) VALUES (s.id, s.n, '[1,1]')"
    )
    assert rows(cursor, f"SELECT id, n FROM {table} WHERE id IN (1, 99)") == [(99, 20)]


def test_a_key_that_is_there_is_refused_through_both_doors(cursor, table, client):
    with pytest.raises(adbc_driver_manager.Error, match="duplicate key.*primary key 3 already"):
        cursor.execute(f"INSERT INTO {table} VALUES (3, 1, '[1,1]')")
    with pytest.raises(pymilvus.MilvusException, match="duplicate key.*primary key 3 already"):
        client.insert(table, [{"id": 3, "n": 1, "v": [1.0, 1.0]}])
    client.upsert(table, [{"id": 3, "n": 5, "v": [1.0, 1.0]}])
    assert rows(cursor, f"SELECT count(*), max(n) FROM {table} WHERE id = 3") == [(1, 5)]
