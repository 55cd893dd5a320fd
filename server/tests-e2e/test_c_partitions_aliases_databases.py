"""How a user arranges data: partitions, partition keys, aliases, databases, upsert; and the asynchronous client."""

import asyncio

import pytest
from pymilvus import AsyncMilvusClient, DataType, MilvusClient, MilvusException

V = [[float(i), float(i % 7), 1.0, 0.0] for i in range(100)]


def rows(ids, **extra):
    return [{"id": i, "vector": V[i], **extra} for i in ids]


def ids(found):
    return [row["id"] for row in found]


# ---- partitions


def test_rows_stay_in_their_partition(client, name):
    client.create_collection(name, dimension=4, metric_type="L2")
    client.create_partition(name, "north")
    client.create_partition(name, "south")
    assert sorted(client.list_partitions(name)) == ["_default", "north", "south"]
    assert client.has_partition(name, "north") and not client.has_partition(name, "west")
    client.insert(name, rows(range(0, 10)))
    client.insert(name, rows(range(10, 20)), partition_name="north")
    client.insert(name, rows(range(20, 30)), partition_name="south")

    assert ids(client.query(name, filter="id >= 0", partition_names=["north"], output_fields=["id"])) == [*range(10, 20)]
    both = client.query(name, filter="id >= 0", partition_names=["north", "south"], output_fields=["id"])
    assert ids(both) == [*range(10, 30)]
    hits = client.search(name, data=[V[5]], limit=30, partition_names=["south"])[0]
    assert sorted(hit["id"] for hit in hits) == [*range(20, 30)]
    count = client.query(name, partition_names=["north"], output_fields=["count(*)"])
    assert count[0]["count(*)"] == 10
    client.delete(name, filter="id < 15", partition_name="north")
    assert client.query(name, partition_names=["north"], output_fields=["count(*)"])[0]["count(*)"] == 5
    assert client.query(name, partition_names=["_default"], output_fields=["count(*)"])[0]["count(*)"] == 10
    client.flush(name)
    assert int(client.get_partition_stats(name, "south")["row_count"]) == 10

    client.release_partitions(name, ["south"])
    client.drop_partition(name, "south")
    assert client.query(name, output_fields=["count(*)"])[0]["count(*)"] == 15


def test_creating_a_partition_twice_is_harmless(client, name):
    client.create_collection(name, dimension=4)
    client.create_partition(name, "p")
    client.create_partition(name, "p")
    assert sorted(client.list_partitions(name)) == ["_default", "p"]


def test_load_and_release_of_partitions(client, name):
    client.create_collection(name, dimension=4, metric_type="L2")
    client.create_partition(name, "p")
    client.insert(name, rows(range(5)), partition_name="p")
    client.release_collection(name)
    assert str(client.get_load_state(name)["state"]) == "NotLoad"
    client.load_partitions(name, ["p"])
    assert str(client.get_load_state(name, partition_name="p")["state"]) == "Loaded"
    assert ids(client.query(name, filter="id >= 0", partition_names=["p"], output_fields=["id"])) == [0, 1, 2, 3, 4]
    client.release_partitions(name, ["p"])
    with pytest.raises(MilvusException):
        client.query(name, filter="id >= 0", partition_names=["p"])
    client.load_collection(name)
    assert str(client.get_load_state(name)["state"]) == "Loaded"


def test_partition_key(client, name):
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("tenant", DataType.VARCHAR, max_length=20, is_partition_key=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=4)
    indexes = client.prepare_index_params()
    indexes.add_index("vector", metric_type="L2")
    client.create_collection(name, schema=schema, index_params=indexes, num_partitions=8)
    described = client.describe_collection(name)
    assert described["num_partitions"] == 8
    assert client.list_partitions(name) == [f"_default_{i}" for i in range(8)]
    client.insert(name, [{"id": i, "tenant": f"t{i % 5}", "vector": V[i]} for i in range(100)])
    hits = client.search(name, data=[V[50]], limit=100, filter='tenant == "t3"')[0]
    assert sorted(hit["id"] for hit in hits) == [*range(3, 100, 5)]
    found = client.query(name, filter='tenant in ["t0", "t4"]', output_fields=["id"])
    assert ids(found) == [i for i in range(100) if i % 5 in (0, 4)]
    with pytest.raises(MilvusException, match="partition key"):
        client.create_partition(name, "mine")
    for call in (
        lambda: client.insert(name, [{"id": 1000, "tenant": "x", "vector": V[0]}], partition_name="_default_1"),
        lambda: client.search(name, data=[V[0]], limit=1, partition_names=["_default_1"]),
        lambda: client.query(name, filter="id > 0", partition_names=["_default_1"]),
        lambda: client.delete(name, ids=[1], partition_name="_default_1"),
    ):
        with pytest.raises(MilvusException, match="not support manually specifying the partition names"):
            call()


# ---- aliases


def test_an_alias_is_another_name_and_can_move(client, name):
    other, alias = name + "_v2", name + "_live"
    client.create_collection(name, dimension=4, metric_type="L2")
    client.create_collection(other, dimension=4, metric_type="L2")
    try:
        client.insert(name, rows([1]))
        client.insert(other, rows([2]))
        client.create_alias(name, alias)
        assert client.list_aliases(name)["aliases"] == [alias]
        assert client.describe_alias(alias)["collection_name"] == name
        assert client.has_collection(alias)
        assert ids(client.query(alias, filter="id >= 0")) == [1]
        client.insert(alias, rows([3]))
        assert ids(client.query(name, filter="id >= 0")) == [1, 3]
        client.alter_alias(other, alias)
        assert ids(client.query(alias, filter="id >= 0")) == [2]
        assert client.search(alias, data=[V[2]], limit=1)[0][0]["id"] == 2
        assert client.describe_collection(alias)["collection_name"] == other
    finally:
        client.drop_alias(alias)
        client.drop_collection(other)
    assert not client.has_collection(alias)


def test_a_write_through_an_alias_that_moved_to_another_schema(client, name):
    """The client packs rows by its copy of the schema; told that it is old, it takes the new one and tries again."""
    other, alias = name + "_v2", name + "_live"
    client.create_collection(name, dimension=4)
    schema = client.create_schema(enable_dynamic_field=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=4)
    schema.add_field("size", DataType.INT64, nullable=True)
    indexes = client.prepare_index_params()
    indexes.add_index("vector")
    client.create_collection(other, schema=schema, index_params=indexes)
    client.create_alias(name, alias)
    try:
        client.insert(alias, rows([1], size=1))
        client.alter_alias(other, alias)
        client.insert(alias, rows([2], size=2))
        client.upsert(alias, rows([3], size=3))
        assert [(row["id"], row["size"]) for row in client.query(other, filter="size > 0", output_fields=["size"])] == [(2, 2), (3, 3)]
        assert [row["id"] for row in client.query(name, filter="size > 0")] == [1], "a dynamic key there"
    finally:
        client.drop_alias(alias)
        client.drop_collection(other)


# ---- databases


def test_databases_keep_names_apart(server, client, name):
    client.create_database(name)
    inside = MilvusClient(server.uri, db_name=name)
    try:
        assert name in client.list_databases() and "default" in client.list_databases()
        assert inside.list_collections() == []
        inside.create_collection(name, dimension=4)
        client.create_collection(name, dimension=8)
        inside.insert(name, rows(range(3)))
        assert len(inside.query(name, filter="id >= 0")) == 3
        assert len(client.query(name, filter="id >= 0")) == 0
        assert inside.describe_collection(name)["fields"][1]["params"]["dim"] == 4
        assert client.describe_collection(name)["fields"][1]["params"]["dim"] == 8
        client.use_database(name)
        assert len(client.query(name, filter="id >= 0")) == 3
        client.use_database("default")
        inside.drop_collection(name)
    finally:
        client.use_database("default")
        inside.close()
        client.drop_database(name)
    assert name not in client.list_databases()


def test_database_properties(client, name):
    client.create_database(name, properties={"database.replica.number": "1"})
    try:
        assert client.describe_database(name)["database.replica.number"] == "1"
        client.alter_database_properties(name, properties={"database.replica.number": "1"})
        assert client.describe_database(name)["database.replica.number"] == "1"
        client.drop_database_properties(name, property_keys=["database.replica.number"])
        assert "database.replica.number" not in client.describe_database(name)
    finally:
        client.drop_database(name)


# ---- upsert


def test_upsert_replaces_and_adds(client, name):
    client.create_collection(name, dimension=4, metric_type="L2")
    client.insert(name, rows(range(5), color="old"))
    answer = client.upsert(name, rows([3, 4, 5], color="new"))
    assert answer["upsert_count"] == 3
    assert [(row["id"], row["color"]) for row in client.query(name, filter="id >= 0", output_fields=["color"])] == [
        (0, "old"), (1, "old"), (2, "old"), (3, "new"), (4, "new"), (5, "new"),
    ]  # fmt: skip
    client.flush(name)
    client.upsert(name, rows([3], color="newest"))
    assert list(client.get(name, ids=[3], output_fields=["color"])) == [{"id": 3, "color": "newest"}]
    assert client.query(name, output_fields=["count(*)"])[0]["count(*)"] == 6


def test_upsert_moves_the_vector(client, name):
    client.create_collection(name, dimension=4, metric_type="L2")
    client.insert(name, rows(range(50)))
    client.upsert(name, [{"id": 0, "vector": [1000.0, 0.0, 0.0, 0.0]}])
    assert client.search(name, data=[[1000.0, 0.0, 0.0, 0.0]], limit=1)[0][0]["id"] == 0
    assert 0 not in [hit["id"] for hit in client.search(name, data=[V[0]], limit=40)[0]]


# ---- the asynchronous client


def test_async_client(server, name, client):
    async def program():
        remote = AsyncMilvusClient(server.uri)
        try:
            await remote.create_collection(name, dimension=4, metric_type="L2")
            batches = [remote.insert(name, rows(range(start, start + 10))) for start in range(0, 100, 10)]
            assert sum(answer["insert_count"] for answer in await asyncio.gather(*batches)) == 100
            searches = [remote.search(name, data=[V[i]], limit=1) for i in range(50)]
            assert [answer[0][0]["id"] for answer in await asyncio.gather(*searches)] == [*range(50)]
            assert len(await remote.query(name, filter="id < 10", output_fields=["id"])) == 10
            assert [row["id"] for row in await remote.get(name, ids=[1, 2])] == [1, 2]
            await remote.upsert(name, rows([1], color="red"))
            await remote.delete(name, ids=[2])
            assert [row["id"] for row in await remote.query(name, filter="id < 4")] == [0, 1, 3]
            await remote.drop_collection(name)
        finally:
            await remote.close()

    asyncio.run(program())
    assert not client.has_collection(name)
