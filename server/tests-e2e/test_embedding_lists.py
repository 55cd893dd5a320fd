"""Embedding lists: vectors in arrays of structs, searched by MAX_SIM, next to the formula in numpy."""

import numpy as np
import pytest
from pymilvus import AnnSearchRequest, DataType, MilvusClient, MilvusException, RRFRanker
from pymilvus.client.embedding_list import EmbeddingList

ROWS = 600
DIM = 16


def create(client: MilvusClient, name: str, metric: str, index: str, **params) -> None:
    struct = client.create_struct_field_schema()
    struct.add_field("text", DataType.VARCHAR, max_length=20)
    struct.add_field("v", DataType.FLOAT_VECTOR, dim=DIM)
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("price", DataType.INT64)
    schema.add_field("plain", DataType.FLOAT_VECTOR, dim=2)
    schema.add_field(
        "chunks",
        DataType.ARRAY,
        element_type=DataType.STRUCT,
        struct_schema=struct,
        max_capacity=8,
        nullable=True,
    )
    indexes = client.prepare_index_params()
    indexes.add_index("plain", index_type="FLAT", metric_type="L2")
    indexes.add_index("chunks[v]", index_name="lists", index_type=index, metric_type=metric, params=params)
    client.create_collection(name, schema=schema, index_params=indexes, consistency_level="Strong")


def lists() -> list[np.ndarray | None]:
    draw = np.random.default_rng(5)
    centers = draw.normal(size=(40, DIM))
    made = []
    for key in range(ROWS):
        if key % 50 == 7:
            made.append(None)
            continue
        count = draw.integers(0, 6)
        made.append((centers[draw.integers(40, size=count)] + 0.3 * draw.normal(size=(count, DIM))).astype(np.float32))
    return made


def fill(client: MilvusClient, name: str, data: list[np.ndarray | None]) -> None:
    rows = [
        {
            "id": key,
            "price": key % 10,
            "plain": [float(key), 0.0],
            "chunks": None if of is None else [{"text": f"t{key}", "v": vector.tolist()} for vector in of],
        }
        for key, of in enumerate(data)
    ]
    for start in range(0, ROWS, 200):
        client.insert(name, rows[start : start + 200])


def score(metric: str, query: np.ndarray, row: np.ndarray) -> float:
    if metric.endswith("L2"):
        return float(((query[:, None, :] - row[None, :, :]) ** 2).sum(-1).min(1).sum())
    if metric.endswith("IP"):
        return float((query @ row.T).max(1).sum())
    unit = lambda vectors: vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return float((unit(query) @ unit(row).T).max(1).sum())


def expected(metric: str, query: np.ndarray, data, keep=lambda key: True) -> list[tuple[int, float]]:
    all_rows = [
        (key, score(metric, query, of)) for key, of in enumerate(data) if of is not None and len(of) and keep(key)
    ]
    return sorted(all_rows, key=lambda pair: pair[1], reverse=not metric.endswith("L2"))


def embedding_list(query: np.ndarray) -> EmbeddingList:
    made = EmbeddingList()
    for vector in query:
        made.add(vector)
    return made


def queries() -> list[np.ndarray]:
    draw = np.random.default_rng(6)
    return [draw.normal(size=(count, DIM)).astype(np.float32) for count in (1, 2, 5)]


@pytest.mark.parametrize(
    ("metric", "index"),
    [
        ("MAX_SIM_COSINE", "HNSW"),
        ("MAX_SIM_IP", "HNSW"),
        ("MAX_SIM_L2", "IVF_FLAT"),
        ("MAX_SIM", "AUTOINDEX"),
        ("MAX_SIM_L2", "FLAT"),
    ],
)
def test_rows_come_by_the_sum_of_the_best_similarities(client, name, metric, index):
    create(client, name, metric, index)
    data = lists()
    fill(client, name, data)
    formula = "MAX_SIM_COSINE" if metric == "MAX_SIM" else metric

    def check(exact: bool) -> None:
        given = queries()
        found = client.search(
            name, [embedding_list(query) for query in given], anns_field="chunks[v]", limit=10, output_fields=["chunks"]
        )
        for query, hits in zip(given, found, strict=True):
            best = expected(formula, query, data)
            scores = dict(best)
            assert len(hits) == 10
            for hit in hits:
                assert hit["distance"] == pytest.approx(scores[hit["id"]], abs=1e-3)
                chunks = hit["entity"]["chunks"]
                assert np.allclose([chunk["v"] for chunk in chunks], data[hit["id"]], atol=1e-6)
            same = {hit["id"] for hit in hits} & {key for key, _ in best[:10]}
            assert len(same) == 10 if exact else len(same) >= 9

    check(exact=True)
    client.flush(name)
    client.refresh_load(name)
    check(exact=index == "FLAT")


def test_filters_ranges_and_fusion_go_together_with_lists(client, name):
    create(client, name, "MAX_SIM_L2", "HNSW")
    data = lists()
    fill(client, name, data)
    client.flush(name)
    query = queries()[1]

    def search(**options):
        return client.search(name, [embedding_list(query)], anns_field="chunks[v]", **options)[0]

    best = expected("MAX_SIM_L2", query, data, keep=lambda key: key % 10 == 3)
    hits = search(limit=5, filter="price == 3")
    assert [hit["id"] for hit in hits] == [key for key, _ in best[:5]]
    every = expected("MAX_SIM_L2", query, data)
    near, far = (sum(score for _, score in every[at - 1 : at + 1]) / 2 for at in (4, 30))
    hits = search(limit=100, search_params={"params": {"radius": far, "range_filter": near}})
    assert [hit["id"] for hit in hits] == [key for key, _ in every[4:30]]
    assert [hit["id"] for hit in search(limit=3, offset=2)] == [key for key, _ in every[2:5]]
    texts = search(limit=3, filter='match_any(chunks, $[text] == "t11")')
    assert [hit["id"] for hit in texts] == ([11] if data[11] is not None and len(data[11]) else [])

    arms = [
        AnnSearchRequest([embedding_list(query)], "chunks[v]", {"metric_type": "MAX_SIM_L2"}, limit=5),
        AnnSearchRequest([[every[0][0], 0.0]], "plain", {"metric_type": "L2"}, limit=5),
    ]
    fused = client.hybrid_search(name, arms, RRFRanker(), limit=3)[0]
    assert fused[0]["id"] == every[0][0]

    client.delete(name, ids=[every[0][0]])
    assert search(limit=1)[0]["id"] == every[1][0]


def test_what_lists_do_not_have_is_refused(client, name):
    create(client, name, "MAX_SIM_COSINE", "HNSW")
    fill(client, name, lists())
    query = embedding_list(queries()[1])

    def refused(what: str, data, **options):
        with pytest.raises(MilvusException, match=what):
            client.search(name, data, limit=3, **options)

    refused("element-level search", [[0.0] * DIM], anns_field="chunks[v]")
    refused("embedding list", [query], anns_field="plain")
    refused("grouping together with a search by embedding lists", [query], anns_field="chunks[v]", group_by_field="price")
    refused("metric type not match", [query], anns_field="chunks[v]", search_params={"metric_type": "MAX_SIM_IP"})
    refused("vector dimension mismatch", [embedding_list(np.ones((1, 3), np.float32))], anns_field="chunks[v]")
    refused("multiple anns_fields exist", [query])


@pytest.mark.parametrize(
    ("dtype", "metric", "to_wire"),
    [
        (DataType.FLOAT16_VECTOR, "MAX_SIM_L2", lambda vector: vector.astype(np.float16)),
        (DataType.INT8_VECTOR, "MAX_SIM_IP", lambda vector: (vector * 20).astype(np.int8)),
        (DataType.BINARY_VECTOR, "MAX_SIM_HAMMING", lambda vector: np.packbits(vector > 0).tobytes()),
    ],
)
def test_other_types_of_vectors_are_kept_in_structs(client, name, dtype, metric, to_wire):
    struct = client.create_struct_field_schema()
    struct.add_field("v", dtype, dim=DIM)
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("s", DataType.ARRAY, element_type=DataType.STRUCT, struct_schema=struct, max_capacity=8)
    indexes = client.prepare_index_params()
    indexes.add_index("s[v]", index_type="HNSW", metric_type=metric, params={"M": 8, "efConstruction": 40})
    client.create_collection(name, schema=schema, index_params=indexes, consistency_level="Strong")
    data = [of if of is not None and len(of) else np.ones((1, DIM), np.float32) for of in lists()]
    client.insert(name, [{"id": key, "s": [{"v": to_wire(v)} for v in of]} for key, of in enumerate(data)])
    client.flush(name)
    numbers = lambda vectors: np.array([np.asarray(to_wire(v), np.float64) for v in vectors])
    for key in (3, 99):
        made = EmbeddingList(dtype=dtype) if dtype == DataType.BINARY_VECTOR else EmbeddingList()
        for vector in data[key]:
            made.add(np.frombuffer(to_wire(vector), np.uint8) if dtype == DataType.BINARY_VECTOR else to_wire(vector))
        hits = client.search(name, [made], anns_field="s[v]", limit=5)[0]
        assert len(hits) == 5
        if metric.endswith(("L2", "HAMMING")):
            assert hits[0]["id"] == key and hits[0]["distance"] == pytest.approx(0, abs=1e-3)
        else:
            best = max(score("MAX_SIM_IP", numbers(data[key]), numbers(of)) for of in data)
            assert hits[0]["distance"] == pytest.approx(best, rel=1e-4)
