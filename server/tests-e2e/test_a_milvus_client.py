"""The first program everybody writes: `MilvusClient(uri)`, a collection with only `dimension=`, and back again after a restart."""

import pytest
from pymilvus import DataType, MilvusClient

ROWS = [
    {"id": i, "vector": [float(i), 1.0, 0.0, float(i % 3)], "color": ["red", "green", "blue"][i % 3], "size": i * 10}
    for i in range(30)
]


def test_quick_start(client, name):
    client.create_collection(name, dimension=4)
    assert client.has_collection(name)
    assert name in client.list_collections()

    described = client.describe_collection(name)
    fields = {field["name"]: field for field in described["fields"]}
    assert list(fields) == ["id", "vector"], "the dynamic field is not listed"
    assert fields["id"]["type"] == DataType.INT64 and fields["id"]["is_primary"]
    assert fields["vector"]["type"] == DataType.FLOAT_VECTOR and fields["vector"]["params"] == {"dim": 4}
    assert described["enable_dynamic_field"] is True
    assert described["auto_id"] is False
    assert client.list_indexes(name) == ["vector"]
    index = client.describe_index(name, "vector")
    assert index["index_type"] == "AUTOINDEX" and index["metric_type"] == "COSINE"
    assert str(client.get_load_state(name)["state"]) == "Loaded"

    answer = client.insert(name, ROWS)
    assert (answer["insert_count"], answer["ids"]) == (30, list(range(30)))

    hits = client.search(name, data=[[0.0, 1.0, 0.0, 0.0]], limit=5, output_fields=["color", "size"])[0]
    assert hits[0]["id"] == 0 and hits[0]["distance"] == pytest.approx(1.0)
    assert hits[0]["entity"] == {"color": "red", "size": 0}
    distances = [hit["distance"] for hit in hits]
    assert distances == sorted(distances, reverse=True), "COSINE: larger first"

    hits = client.search(name, data=[[1.0, 1.0, 1.0, 1.0]], limit=30, filter='color == "green" and size < 200')[0]
    assert {hit["id"] for hit in hits} == {1, 4, 7, 10, 13, 16, 19}

    found = client.query(name, filter='color in ["red", "blue"] and size >= 250', output_fields=["color", "size"])
    assert list(found) == [
        {"id": 26, "color": "blue", "size": 260},
        {"id": 27, "color": "red", "size": 270},
        {"id": 29, "color": "blue", "size": 290},
    ]
    assert [row["id"] for row in client.get(name, ids=[7, 3])] == [3, 7]
    assert client.get(name, ids=[7])[0]["vector"] == pytest.approx([7.0, 1.0, 0.0, 1.0])

    client.delete(name, ids=[0, 1])
    client.delete(name, filter='color == "blue"')
    assert [row["id"] for row in client.query(name, filter="id >= 0", output_fields=["id"])] == [
        i for i in range(30) if i not in (0, 1) and i % 3 != 2
    ]
    assert client.query(name, filter="", output_fields=["count(*)"])[0]["count(*)"] == 18

    client.drop_collection(name)
    assert not client.has_collection(name)


@pytest.mark.parametrize("crash", [False, True], ids=["SIGTERM", "SIGKILL"])
def test_everything_is_there_after_a_restart(own_server, crash):
    before = MilvusClient(own_server.uri)
    before.create_collection("fruit", dimension=4)
    before.insert("fruit", ROWS)
    before.delete("fruit", ids=[5])
    before.upsert("fruit", [{"id": 6, "vector": [9.0, 9.0, 9.0, 9.0], "color": "black"}])
    first = before.search("fruit", data=[[1.0, 2.0, 3.0, 4.0]], limit=10, output_fields=["color"])
    before.close()

    own_server.restart(crash=crash)

    after = MilvusClient(own_server.uri)
    assert after.list_collections() == ["fruit"]
    assert after.describe_index("fruit", "vector")["index_type"] == "AUTOINDEX"
    assert str(after.get_load_state("fruit")["state"]) == "Loaded", "a loaded collection is loaded again"
    assert after.query("fruit", filter="", output_fields=["count(*)"])[0]["count(*)"] == 29
    assert after.get("fruit", ids=[5]) == []
    assert list(after.get("fruit", ids=[6], output_fields=["color"])) == [{"id": 6, "color": "black"}]
    again = after.search("fruit", data=[[1.0, 2.0, 3.0, 4.0]], limit=10, output_fields=["color"])
    assert [(hit["id"], hit["distance"]) for hit in again[0]] == [(hit["id"], hit["distance"]) for hit in first[0]]
    after.insert("fruit", [{"id": 100, "vector": [1.0, 0.0, 0.0, 0.0]}])
    assert len(after.query("fruit", filter="id == 100")) == 1
    after.close()


def test_a_client_that_stays_connected_survives_a_restart(own_server):
    client = MilvusClient(own_server.uri)
    client.create_collection("kept", dimension=4)
    client.insert("kept", ROWS[:3])
    own_server.restart()
    assert len(client.query("kept", filter="id >= 0")) == 3
    client.close()


def test_first_searched_right_after_start(own_server):
    """From a bare directory to an answer, without any wait in the program."""
    client = MilvusClient(own_server.uri)
    client.create_collection("first", dimension=2)
    client.insert("first", [{"id": 1, "vector": [0.0, 1.0]}])
    assert client.search("first", data=[[0.0, 1.0]], limit=1)[0][0]["id"] == 1
    client.close()


def test_own_schema_and_string_keys(client, name):
    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("sku", DataType.VARCHAR, is_primary=True, max_length=32)
    schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=8)
    schema.add_field("price", DataType.DOUBLE)
    indexes = client.prepare_index_params()
    indexes.add_index("embedding", index_type="HNSW", metric_type="IP", params={"M": 16, "efConstruction": 100})
    client.create_collection(name, schema=schema, index_params=indexes)
    rows = [{"sku": f"sku-{i:03}", "embedding": [float(i == j) for j in range(8)], "price": i / 4} for i in range(8)]
    assert client.insert(name, rows)["ids"] == [row["sku"] for row in rows]
    hits = client.search(name, data=[rows[5]["embedding"]], limit=1, output_fields=["price"])[0]
    assert (hits[0]["sku"], hits[0]["distance"], hits[0]["entity"]["price"]) == ("sku-005", 1.0, 1.25)
    assert list(client.get(name, ids=["sku-002"], output_fields=["price"])) == [{"sku": "sku-002", "price": 0.5}]
    assert client.delete(name, ids=["sku-002", "nothing"])
    assert client.get(name, ids="sku-002") == []


def test_generated_keys(client, name):
    client.create_collection(name, dimension=4, auto_id=True)
    first = client.insert(name, [{"vector": [1.0, 0.0, 0.0, 0.0], "n": 1}, {"vector": [0.0, 1.0, 0.0, 0.0], "n": 2}])
    second = client.insert(name, {"vector": [0.0, 0.0, 1.0, 0.0], "n": 3})
    keys = [*first["ids"], *second["ids"]]
    assert len(set(keys)) == 3 and keys == sorted(keys), "generated keys are unique and grow"
    assert [row["n"] for row in client.get(name, ids=keys, output_fields=["n"])] == [1, 2, 3]


def test_collection_statistics_and_flush(client, name):
    client.create_collection(name, dimension=4)
    client.insert(name, ROWS)
    client.flush(name)
    assert int(client.get_collection_stats(name)["row_count"]) == 30


def test_rename_and_describe(client, name):
    client.create_collection(name, dimension=4, description="about colours")
    client.insert(name, ROWS[:2])
    client.rename_collection(name, name + "_new")
    try:
        assert not client.has_collection(name)
        assert client.query(name + "_new", filter="", output_fields=["count(*)"])[0]["count(*)"] == 2
    finally:
        client.drop_collection(name + "_new")


def test_properties_are_kept(client, name):
    client.create_collection(name, dimension=4, properties={"collection.replica.number": "1"})
    assert client.describe_collection(name)["properties"]["collection.replica.number"] == "1"
    client.alter_collection_properties(name, properties={"mmap.enabled": True})
    assert client.describe_collection(name)["properties"]["mmap.enabled"] in ("True", "true")
    client.drop_collection_properties(name, property_keys=["mmap.enabled"])
    assert "mmap.enabled" not in client.describe_collection(name)["properties"]


def test_health_and_metrics(own_server):
    status, text = own_server.get("/healthz")
    assert (status, text.strip()) == (200, "OK")
    status, text = own_server.get("/metrics")
    assert status == 200
    assert any(line.startswith("# TYPE ") for line in text.splitlines()), "Prometheus text"


def test_server_version(client):
    assert client.get_server_version()
