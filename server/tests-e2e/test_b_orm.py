"""The older, object-mapper style: `connections`, `Collection`, `utility`. Programs of many years still look like this."""

import numpy as np
import pytest
from pymilvus import Collection, CollectionSchema, DataType, FieldSchema, Partition, connections, utility

DIM = 16


@pytest.fixture(scope="module", autouse=True)
def connection(server):
    host, port = server.address.split(":")
    connections.connect("default", host=host, port=port)
    yield
    connections.disconnect("default")


@pytest.fixture
def vectors():
    return np.random.default_rng(3).standard_normal((300, DIM)).astype(np.float32)


def with_index(name, index_type, params, metric="L2", vectors=()):
    schema = CollectionSchema(
        [
            FieldSchema("pk", DataType.INT64, is_primary=True, auto_id=False),
            FieldSchema("embedding", DataType.FLOAT_VECTOR, dim=DIM),
        ]
    )
    collection = Collection(name, schema, consistency_level="Strong")
    collection.insert([list(range(len(vectors))), vectors])
    collection.create_index(
        "embedding", {"index_type": index_type, "metric_type": metric, "params": params}, index_name="by_embedding"
    )
    collection.load()
    return collection


def test_hello_milvus(name, vectors):
    schema = CollectionSchema(
        [
            FieldSchema("pk", DataType.INT64, is_primary=True, auto_id=True),
            FieldSchema("random", DataType.DOUBLE),
            FieldSchema("word", DataType.VARCHAR, max_length=100),
            FieldSchema("embedding", DataType.FLOAT_VECTOR, dim=DIM),
        ],
        description="hello",
        enable_dynamic_field=True,
    )
    assert not utility.has_collection(name)
    collection = Collection(name, schema, consistency_level="Strong")
    assert utility.has_collection(name) and name in utility.list_collections()
    assert collection.description == "hello"
    assert collection.is_empty

    by_columns = collection.insert([[i / 300 for i in range(200)], [f"w{i}" for i in range(200)], vectors[:200]])
    assert by_columns.insert_count == 200 and len(by_columns.primary_keys) == 200
    by_rows = collection.insert(
        [{"random": i / 300, "word": f"w{i}", "embedding": vectors[i], "extra": i} for i in range(200, 300)]
    )
    assert by_rows.insert_count == 100
    collection.flush()
    assert collection.num_entities == 300
    assert not collection.is_empty

    assert not collection.has_index()
    collection.create_index(
        "embedding", {"index_type": "HNSW", "metric_type": "L2", "params": {"M": 16, "efConstruction": 200}}
    )
    assert collection.has_index()
    assert collection.index().params["index_type"] == "HNSW"
    assert utility.index_building_progress(name)["indexed_rows"] == 300
    assert utility.wait_for_index_building_complete(name)

    collection.load()
    assert utility.loading_progress(name)["loading_progress"] == "100%"
    assert str(utility.load_state(name)) == "Loaded"

    hits = collection.search(
        data=vectors[:2], anns_field="embedding", param={"metric_type": "L2", "params": {"ef": 64}},
        limit=3, output_fields=["random", "word"],
    )  # fmt: skip
    assert [hit[0].entity.get("word") for hit in hits] == ["w0", "w1"]
    assert hits[0].distances[0] == pytest.approx(0.0, abs=1e-5)
    assert hits[0].ids[0] == by_columns.primary_keys[0]

    hits = collection.search(
        data=vectors[:1], anns_field="embedding", param={"metric_type": "L2"}, limit=10,
        expr="random > 0.5 and word like 'w2%'", output_fields=["random"],
    )  # fmt: skip
    assert len(hits[0]) == 10 and all(hit.entity.get("random") > 0.5 for hit in hits[0])

    rows = collection.query(expr="extra >= 298", output_fields=["word", "extra"])
    assert [(row["word"], row["extra"]) for row in rows] == [("w298", 298), ("w299", 299)]

    collection.delete(f"pk in [{by_columns.primary_keys[0]}, {by_columns.primary_keys[1]}]")
    assert collection.query(expr="", output_fields=["count(*)"])[0]["count(*)"] == 298

    collection.release()
    assert str(utility.load_state(name)) == "NotLoad"
    collection.drop_index()
    assert not collection.has_index()
    utility.drop_collection(name)
    assert not utility.has_collection(name)


@pytest.mark.parametrize(
    ("index_type", "params", "search"),
    [
        ("FLAT", {}, {}),
        ("IVF_FLAT", {"nlist": 16}, {"nprobe": 16}),
        ("HNSW", {"M": 8, "efConstruction": 64}, {"ef": 128}),
        ("HNSW_SQ", {"M": 8, "efConstruction": 64, "sq_type": "BF16"}, {"ef": 128}),
        ("HNSW_PQ", {"M": 8, "efConstruction": 64, "m": 4, "nbits": 4}, {"ef": 128, "refine_k": 1.5}),
        ("AUTOINDEX", {}, {}),
    ],
)
@pytest.mark.parametrize("metric", ["L2", "IP", "COSINE"])
def test_every_index_with_every_metric(name, vectors, index_type, params, search, metric):
    collection = with_index(name, index_type, params, metric, vectors)
    described = collection.index(index_name="by_embedding")
    assert described.index_name == "by_embedding" and described.field_name == "embedding"
    assert described.params["index_type"] == index_type and described.params["metric_type"] == metric
    shown = described.params.get("params", {})
    shown = shown if isinstance(shown, dict) else {}
    assert {key: str(value) for key, value in shown.items() if key in params} == {k: str(v) for k, v in params.items()}

    hits = collection.search(vectors[7:8], "embedding", {"metric_type": metric, "params": search}, limit=10)[0]
    exact = {
        "L2": ((vectors - vectors[7]) ** 2).sum(1),
        "IP": vectors @ vectors[7],
        "COSINE": vectors @ vectors[7] / np.linalg.norm(vectors, axis=1) / np.linalg.norm(vectors[7]),
    }[metric]
    order = np.argsort(exact if metric == "L2" else -exact)[:10]
    assert list(hits.ids) == order.tolist()
    assert hits.distances == pytest.approx(exact[order].tolist(), abs=1e-4)


def test_scalar_indexes_are_recorded_and_described(name, vectors):
    schema = CollectionSchema(
        [
            FieldSchema("pk", DataType.INT64, is_primary=True),
            FieldSchema("number", DataType.INT32),
            FieldSchema("word", DataType.VARCHAR, max_length=20),
            FieldSchema("embedding", DataType.FLOAT_VECTOR, dim=DIM),
        ]
    )
    collection = Collection(name, schema)
    collection.create_index("embedding", {"index_type": "FLAT", "metric_type": "L2", "params": {}})
    collection.create_index("number", {"index_type": "STL_SORT"}, index_name="by_number")
    collection.create_index("word", {"index_type": "INVERTED"}, index_name="by_word")
    kinds = {index.index_name: (index.field_name, index.params["index_type"]) for index in collection.indexes}
    assert kinds["by_number"] == ("number", "STL_SORT")
    assert kinds["by_word"] == ("word", "INVERTED")
    collection.load()
    collection.insert([[1, 2, 3], [10, 20, 30], ["a", "b", "c"], vectors[:3]])
    found = collection.query("number > 10 and word != 'c'", output_fields=["pk"], consistency_level="Strong")
    assert list(found) == [{"pk": 2}]
    collection.drop_index(index_name="by_word")
    assert "by_word" not in {index.index_name for index in collection.indexes}


def test_partitions_of_a_collection(name, vectors):
    collection = with_index(name, "FLAT", {}, "L2", vectors[:10])
    partition = Partition(collection, "twenties")
    assert collection.has_partition("twenties")
    assert {p.name for p in collection.partitions} == {"_default", "twenties"}
    partition.insert([[20, 21, 22], vectors[20:23]])
    found = collection.query("pk >= 0", output_fields=["pk"], partition_names=["twenties"])
    assert [row["pk"] for row in found] == [20, 21, 22]
    hits = collection.search(vectors[:1], "embedding", {}, limit=5, partition_names=["twenties"])[0]
    assert sorted(hits.ids) == [20, 21, 22]
    hits = partition.search(vectors[21:22], "embedding", {}, limit=1)[0]
    assert hits.ids[0] == 21
    partition.flush()
    assert partition.num_entities == 3
    partition.release()
    partition.drop()
    assert not collection.has_partition("twenties")


def test_upsert_and_delete_return_counts(name, vectors):
    collection = with_index(name, "FLAT", {}, "L2", vectors[:5])
    changed = collection.upsert([[1, 50], vectors[50:52]])
    assert changed.upsert_count == 2
    assert collection.delete("pk in [0, 1]").delete_count == 2
    assert [row["pk"] for row in collection.query("pk >= 0", output_fields=["pk"])] == [2, 3, 4, 50]


def test_utility(name, vectors):
    collection = with_index(name, "FLAT", {}, "L2", vectors[:5])
    assert utility.get_server_version()
    assert utility.get_server_type() == "milvus"
    utility.create_alias(name, name + "_alias")
    assert utility.list_aliases(name) == [name + "_alias"]
    assert Collection(name + "_alias").num_entities == collection.num_entities
    utility.drop_alias(name + "_alias")
    utility.rename_collection(name, name + "_b")
    assert utility.has_collection(name + "_b")
    utility.rename_collection(name + "_b", name)
    assert utility.has_partition(name, "_default")


def test_the_same_schema_opens_an_existing_collection(name, vectors):
    collection = with_index(name, "FLAT", {}, "L2", vectors[:5])
    again = Collection(name)
    assert again.schema == collection.schema
    assert again.primary_field.name == "pk"
