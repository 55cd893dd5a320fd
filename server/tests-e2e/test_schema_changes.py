"""Fields are added, dropped and altered under programs that go on."""

import pytest
from pymilvus import DataType, MilvusClient, MilvusException

V = [0.5, -1.0, 2.0, 0.25]


def test_an_added_field_has_its_default_in_old_rows(make, client, name):
    make(id="INT64", v=4)
    client.insert(name, [{"id": 1, "v": V}, {"id": 2, "v": V}])
    client.flush(name)
    client.add_collection_field(name, "stars", DataType.INT64, nullable=True, default_value=5)
    client.add_collection_field(name, "note", DataType.VARCHAR, nullable=True, max_length=20)
    client.insert(name, [{"id": 3, "v": V, "stars": 1, "note": "new"}, {"id": 4, "v": V}])
    rows = client.query(name, filter="id > 0", output_fields=["stars", "note"])
    assert [(row["stars"], row["note"]) for row in rows] == [(5, None), (5, None), (1, "new"), (5, None)]
    assert [row["id"] for row in client.query(name, filter="stars == 5 and note is null")] == [1, 2, 4]
    hits = client.search(name, [V], limit=4, filter="stars == 5", output_fields=["stars"])[0]
    assert [hit["id"] for hit in hits] == [1, 2, 4]


def test_a_dropped_field_is_gone_and_one_of_its_name_is_another(make, client, name):
    make(id="INT64", v=4, n=("INT64", {"nullable": True}))
    client.insert(name, [{"id": 1, "v": V, "n": 7}])
    client.drop_collection_field(name, "n")
    assert [field["name"] for field in client.describe_collection(name)["fields"]] == ["id", "v"]
    with pytest.raises(MilvusException, match="n"):
        client.query(name, filter="n == 7")
    client.add_collection_field(name, "n", DataType.INT64, nullable=True)
    assert client.query(name, filter="id == 1", output_fields=["n"])[0]["n"] is None
    with pytest.raises(MilvusException, match="primary key"):
        client.drop_collection_field(name, "id")


def test_an_added_vector_field_is_indexed_and_searched(make, client, name):
    make(id="INT64", v=4)
    client.insert(name, [{"id": i, "v": V} for i in range(50)])
    client.release_collection(name)
    client.add_collection_field(name, "w", DataType.FLOAT_VECTOR, dim=2, nullable=True)
    index = client.prepare_index_params()
    index.add_index("w", index_type="HNSW", metric_type="L2")
    client.create_index(name, index)
    client.load_collection(name)
    client.insert(name, [{"id": 100, "v": V, "w": [1.0, 2.0]}, {"id": 101, "v": V, "w": [9.0, 9.0]}])
    client.flush(name)
    hits = client.search(name, [[1.0, 1.0]], anns_field="w", limit=10)[0]
    assert [hit["id"] for hit in hits] == [100, 101]


def test_a_longer_text_fits_once_the_limit_is_altered(make, client, name):
    make(id="INT64", v=4, s=("VARCHAR", {"max_length": 4}))
    with pytest.raises(MilvusException, match="max length"):
        client.insert(name, [{"id": 1, "v": V, "s": "too long"}])
    client.alter_collection_field(name, field_name="s", field_params={"max_length": 40})
    client.insert(name, [{"id": 1, "v": V, "s": "too long"}])


def test_a_client_that_has_not_heard_of_the_change_goes_on(make, client, name, server):
    make(id="INT64", v=4, n=("INT64", {"nullable": True}))
    other = MilvusClient(server.uri)
    try:
        other.insert(name, [{"id": 1, "v": V, "n": 1}])
        client.add_collection_field(name, "m", DataType.INT64, nullable=True, default_value=3)
        other.insert(name, [{"id": 2, "v": V, "n": 2}])
        other.upsert(name, [{"id": 1, "v": V, "n": 5, "m": 6}])
        rows = client.query(name, filter="id > 0", output_fields=["n", "m"])
        assert [(row["id"], row["n"], row["m"]) for row in rows] == [(1, 5, 6), (2, 2, 3)]
    finally:
        other.close()
