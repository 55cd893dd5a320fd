"""Vectors of every type go in, come out and are found: half precision, bfloat16, int8, binary and sparse, compared with numpy."""

import numpy as np
import pytest
from harness import eventually
from pymilvus import DataType, MilvusException
from scipy.sparse import csr_array, csr_matrix

DIM = 16
ROWS = 200
RNG = np.random.default_rng(7)
FLOATS = RNG.standard_normal((ROWS, DIM)).astype(np.float32)
INTS = RNG.integers(-128, 128, (ROWS, DIM), dtype=np.int8)
BITS = RNG.integers(0, 2, (ROWS, DIM), dtype=np.uint8)
SPARSE = [
    {int(i): float(np.float32(RNG.random())) for i in sorted(RNG.choice(50, size=int(RNG.integers(1, 8)), replace=False))}
    for _ in range(ROWS)
]


def to_bfloat16(floats):
    """The bits of the nearest bfloat16s, ties to even, and their values."""
    bits = np.asarray(floats, np.float32).view(np.uint32)
    upper = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return upper, (upper.astype(np.uint32) << 16).view(np.float32)


def numbers(kind):
    """What is sent for each row, and the numbers it stands for."""
    if kind == "FLOAT16_VECTOR":
        halves = FLOATS.astype(np.float16)
        return list(halves), halves.astype(np.float64)
    if kind == "BFLOAT16_VECTOR":
        bits, values = to_bfloat16(FLOATS)
        return [row.tobytes() for row in bits], values.astype(np.float64)
    return list(INTS), INTS.astype(np.float64)


def dense_scores(metric, rows, query):
    if metric == "L2":
        return ((rows - query) ** 2).sum(axis=1)
    dots = rows @ query
    if metric == "IP":
        return dots
    return dots / (np.linalg.norm(rows, axis=1) * np.linalg.norm(query))


def collection(client, name, kind, index, metric, dim=DIM, params=None, **options):
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("even", DataType.BOOL)
    if kind != "SPARSE_FLOAT_VECTOR":
        options["dim"] = dim
    schema.add_field("v", DataType[kind], **options)
    client.create_collection(name, schema=schema, consistency_level="Strong")
    indexes = client.prepare_index_params()
    indexes.add_index(field_name="v", index_type=index, metric_type=metric, params=params or {})
    client.create_index(name, indexes)
    client.load_collection(name)


def fill(client, name, vectors, flush):
    client.insert(name, [{"id": i, "even": i % 2 == 0, "v": v} for i, v in enumerate(vectors)])
    if flush:
        client.flush(name)


def check_hits(hits, scores, larger, limit):
    """The hits are the best by the oracle's scores, with these scores."""
    order = np.argsort(-scores if larger else scores, kind="stable")[:limit]
    assert len(hits) == min(limit, len(scores))
    for hit, best in zip(hits, order, strict=True):
        assert hit["distance"] == pytest.approx(scores[hit["id"]], rel=1e-4, abs=1e-4)
        assert scores[hit["id"]] == pytest.approx(scores[best], rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("flush", [False, True], ids=["growing", "sealed"])
@pytest.mark.parametrize("metric", ["L2", "IP", "COSINE"])
@pytest.mark.parametrize("kind", ["FLOAT16_VECTOR", "BFLOAT16_VECTOR", "INT8_VECTOR"])
@pytest.mark.parametrize("index", ["AUTOINDEX", "HNSW_SQ"])
def test_numbers_are_found_as_numpy_finds_them(client, name, index, kind, metric, flush):
    collection(client, name, kind, index, metric)
    sent, values = numbers(kind)
    fill(client, name, sent, flush)
    found = client.search(name, [sent[3], sent[11]], anns_field="v", limit=10, output_fields=["id"])
    for hits, query in zip(found, [values[3], values[11]], strict=True):
        check_hits(hits, dense_scores(metric, values, query), metric != "L2", 10)
    filtered = client.search(name, [sent[3]], anns_field="v", filter="even == true", limit=10)[0]
    assert all(hit["id"] % 2 == 0 for hit in filtered) and len(filtered) == 10


@pytest.mark.parametrize("index", ["FLAT", None], ids=["FLAT", "growing"])
@pytest.mark.parametrize("kind", ["FLOAT16_VECTOR", "BFLOAT16_VECTOR", "INT8_VECTOR", "BINARY_VECTOR"])
def test_many_queries_at_once_find_what_each_finds_by_itself(client, name, index, kind):
    binary = kind == "BINARY_VECTOR"
    flat = "BIN_FLAT" if binary else "FLAT"
    collection(client, name, kind, flat, "HAMMING" if binary else "COSINE")
    sent = [np.packbits(row).tobytes() for row in BITS] if binary else numbers(kind)[0]
    fill(client, name, sent, flush=index is not None)
    for options in ({}, {"filter": "even == true"}):
        search = {"anns_field": "v", "limit": 7, "output_fields": ["id"], **options}
        found = client.search(name, sent[:70], **search)
        assert [list(hits) for hits in found] == [list(client.search(name, [vector], **search)[0]) for vector in sent[:70]]


@pytest.mark.parametrize("flush", [False, True], ids=["growing", "sealed"])
@pytest.mark.parametrize("metric", ["HAMMING", "JACCARD"])
def test_bits_are_found_as_numpy_finds_them(client, name, metric, flush):
    collection(client, name, "BINARY_VECTOR", "BIN_FLAT", metric)
    packed = [np.packbits(row).tobytes() for row in BITS]
    fill(client, name, packed, flush)
    query = BITS[5]
    both, either = (BITS & query).sum(axis=1), (BITS | query).sum(axis=1)
    scores = (BITS != query).sum(axis=1) if metric == "HAMMING" else 1 - both / np.maximum(either, 1)
    hits = client.search(name, [packed[5]], anns_field="v", limit=10)[0]
    assert hits[0]["id"] == 5 and hits[0]["distance"] == 0.0
    check_hits(hits, scores.astype(np.float64), False, 10)


@pytest.mark.parametrize("flush", [False, True], ids=["growing", "sealed"])
@pytest.mark.parametrize("index", ["SPARSE_INVERTED_INDEX", "AUTOINDEX"])
def test_sparse_vectors_are_found_as_a_dictionary_finds_them(client, name, index, flush):
    collection(client, name, "SPARSE_FLOAT_VECTOR", index, "IP")
    fill(client, name, SPARSE, flush)
    query = {1: 0.5, 7: 1.0, 30: 2.0, 49: 0.25}
    scores = np.array([sum(value * query.get(i, 0.0) for i, value in row.items()) for row in SPARSE])
    hits = client.search(name, [query], anns_field="v", limit=10, search_params={"params": {"drop_ratio_search": 0.2}})[0]
    check_hits(hits, scores, True, 10)
    row = client.get(name, ids=[0], output_fields=["v"])[0]["v"]
    assert dict(row) == pytest.approx(SPARSE[0])


def best_sparse(rows, query, limit):
    """Scores and rows of the best that share something with the query; equals by key."""
    scores = {i: sum(value * query.get(j, 0.0) for j, value in row.items()) for i, row in rows.items()}
    found = sorted((-score, i) for i, score in scores.items() if score > 0)
    return [(i, -score) for score, i in found[:limit]]


@pytest.mark.parametrize(
    ("index", "params"),
    [
        ("SPARSE_INVERTED_INDEX", {}),
        ("SPARSE_INVERTED_INDEX", {"inverted_index_algo": "DAAT_WAND", "block_max_block_size": 16}),
        ("SPARSE_INVERTED_INDEX", {"inverted_index_algo": "TAAT_NAIVE", "drop_ratio_build": 0.2}),
        ("SPARSE_WAND", {}),
    ],
    ids=["maxscore", "wand", "naive", "alias"],
)
def test_an_inverted_index_finds_what_a_loop_finds(client, name, index, params):
    rng = np.random.default_rng(17)

    def draw(size):
        terms = np.unique(np.minimum(rng.zipf(1.3, size), 4_000_000_000))
        return {int(term): float(np.float32(0.05 + rng.random())) for term in terms}

    rows = {i: draw(12) for i in range(3000)}
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("even", DataType.BOOL)
    schema.add_field("v", DataType.SPARSE_FLOAT_VECTOR)
    client.create_collection(name, schema=schema, consistency_level="Strong")
    indexes = client.prepare_index_params()
    indexes.add_index(field_name="v", index_type=index, metric_type="IP", params=params)
    client.create_index(name, indexes)
    client.load_collection(name)

    def insert(some):
        client.insert(name, [{"id": i, "even": i % 2 == 0, "v": rows[i]} for i in some])

    def search(query, **options):
        hits = client.search(name, [query], anns_field="v", limit=20, **options)[0]
        return [(hit["id"], hit["distance"]) for hit in hits]

    insert(range(2000))
    client.flush(name)
    eventually(lambda: client.describe_index(name, "v")["indexed_rows"] == 2000, "the index is built")
    insert(range(2000, 3000))
    client.delete(name, ids=list(range(0, 3000, 7)))
    live = {i: row for i, row in rows.items() if i % 7}
    even = {i: row for i, row in live.items() if i % 2 == 0}
    for _ in range(25):
        query = draw(8)
        for found, expected in [
            (search(query), best_sparse(live, query, 20)),
            (search(query, filter="even == true"), best_sparse(even, query, 20)),
            (search(query, filter="id < 3"), best_sparse({1: rows[1], 2: rows[2]}, query, 20)),
        ]:
            assert [i for i, _ in found] == [i for i, _ in expected]
            assert [score for _, score in found] == pytest.approx([score for _, score in expected], rel=1e-5)
        # Candidates by the heaviest terms only: scores are right all the same.
        of_row = dict(best_sparse(live, query, 3000))
        for i, score in search(query, search_params={"params": {"drop_ratio_search": 0.5}}):
            assert score == pytest.approx(of_row[i], rel=1e-5)
    with pytest.raises(MilvusException, match="drop_ratio_search"):
        search({1: 1.0}, search_params={"params": {"drop_ratio_search": 1.5}})


def test_an_algorithm_that_is_not_known_is_refused(client, name):
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.SPARSE_FLOAT_VECTOR)
    client.create_collection(name, schema=schema)
    for params, message in [
        ({"inverted_index_algo": "FASTEST"}, "sparse inverted index algo FASTEST not found or not supported"),
        ({"drop_ratio_build": 1}, "drop_ratio_build"),
        ({"bm25_k1": 4}, "bm25_k1"),
    ]:
        indexes = client.prepare_index_params()
        indexes.add_index(field_name="v", index_type="SPARSE_INVERTED_INDEX", metric_type="IP", params=params)
        with pytest.raises(MilvusException, match=message):
            client.create_index(name, indexes)


def test_sparse_vectors_come_in_every_form(client, name):
    collection(client, name, "SPARSE_FLOAT_VECTOR", "SPARSE_INVERTED_INDEX", "IP")
    dense = np.zeros((4, 100), dtype=np.float32)
    dense[0, [3, 7]] = [0.5, 2.0]
    dense[1, [0, 99]] = [1.0, 0.25]
    dense[2, 7] = 1.0
    dense[3, 50] = 4.0
    forms = [
        {3: 0.5, 7: 2.0},
        [(99, 0.25), (0, 1.0)],
        csr_matrix(dense[2:3]),
        csr_array(dense[3:4]),
    ]
    client.insert(name, [{"id": i, "even": True, "v": form} for i, form in enumerate(forms)])
    client.flush(name)
    stored = {row["id"]: dict(row["v"]) for row in client.query(name, filter="id >= 0", output_fields=["v"])}
    assert stored == {0: {3: 0.5, 7: 2.0}, 1: {0: 1.0, 99: 0.25}, 2: {7: 1.0}, 3: {50: 4.0}}
    found = client.search(name, [csr_matrix(dense[:1]), csr_array(dense[1:2])], anns_field="v", limit=4)
    assert [[(hit["id"], hit["distance"]) for hit in hits] for hits in found] == [
        [(0, 4.25), (2, 2.0)],
        [(1, 1.0625)],
    ]
    for query in ({50: 2.0}, [(50, 2.0)], csr_matrix(2.0 * dense[3:4] / 4.0)):
        hits = client.search(name, [query], anns_field="v", limit=4)[0]
        assert [(hit["id"], hit["distance"]) for hit in hits] == [(3, 8.0)]


@pytest.mark.parametrize("flush", [False, True], ids=["growing", "sealed"])
def test_vectors_come_back_as_they_were_sent(client, name, flush):
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    kinds = {"h": "FLOAT16_VECTOR", "b": "BFLOAT16_VECTOR", "i": "INT8_VECTOR", "bits": "BINARY_VECTOR"}
    indexes = client.prepare_index_params()
    for field, kind in kinds.items():
        schema.add_field(field, DataType[kind], dim=DIM, nullable=field == "i")
        metric = "HAMMING" if field == "bits" else "L2"
        indexes.add_index(field_name=field, index_type="AUTOINDEX", metric_type=metric)
    client.create_collection(name, schema=schema, consistency_level="Strong")
    client.create_index(name, indexes)
    client.load_collection(name)
    halves = FLOATS.astype(np.float16)
    bfloats, _ = to_bfloat16(FLOATS)
    rows = [
        {
            "id": i,
            "h": halves[i],
            "b": bfloats[i].tobytes(),
            "i": None if i == 1 else INTS[i],
            "bits": np.packbits(BITS[i]).tobytes(),
        }
        for i in range(3)
    ]
    client.insert(name, rows)
    if flush:
        client.flush(name)

    def raw(value):
        value = value[0] if isinstance(value, list) and len(value) == 1 and isinstance(value[0], bytes) else value
        return value if isinstance(value, bytes) else np.asarray(value).tobytes()

    found = client.query(name, filter="id >= 0", output_fields=["*"])
    assert len(found) == 3
    for row in found:
        i = row["id"]
        assert raw(row["h"]) == halves[i].tobytes()
        assert raw(row["b"]) == bfloats[i].tobytes()
        assert raw(row["bits"]) == np.packbits(BITS[i]).tobytes()
        assert row["i"] is None if i == 1 else raw(row["i"]) == INTS[i].tobytes()
    # a row without a vector is never found
    hits = client.search(name, [INTS[1]], anns_field="i", limit=10)[0]
    assert sorted(hit["id"] for hit in hits) == [0, 2]


MANY = 4_000
GROUPS = RNG.standard_normal((40, 32)).astype(np.float32)
NEAR = GROUPS[np.arange(MANY) % 40] + 0.4 * RNG.standard_normal((MANY, 32)).astype(np.float32)


@pytest.mark.parametrize(
    ("kind", "index", "metric", "params"),
    [
        *((kind, "IVF_FLAT", metric, {"nlist": 32}) for kind in ("FLOAT16_VECTOR", "BFLOAT16_VECTOR") for metric in ("L2", "IP", "COSINE")),
        ("FLOAT16_VECTOR", "IVF_SQ8", "L2", {"nlist": 32}),
        ("BFLOAT16_VECTOR", "IVF_PQ", "COSINE", {"nlist": 32, "m": 16}),
        ("FLOAT16_VECTOR", "IVF_RABITQ", "IP", {"nlist": 32, "rbq_bits": 4}),
        ("BFLOAT16_VECTOR", "SCANN", "L2", {"nlist": 32}),
        ("BINARY_VECTOR", "BIN_IVF_FLAT", "HAMMING", {"nlist": 32}),
        ("BINARY_VECTOR", "BIN_IVF_FLAT", "JACCARD", {"nlist": 32}),
    ],
)  # fmt: skip
def test_lists_find_nearly_all_with_true_scores(client, name, kind, index, metric, params):
    bits = (NEAR > 0).astype(np.uint8)
    if kind == "BINARY_VECTOR":
        both, either = bits.astype(int) @ bits[:5].T, 32 - (1 - bits.astype(int)) @ (1 - bits[:5].astype(int)).T
        scores = ((bits[:, None] != bits[None, :5]).sum(axis=2) if metric == "HAMMING" else 1 - both / np.maximum(either, 1)).T
        sent = [np.packbits(row).tobytes() for row in bits]
    else:
        if kind == "FLOAT16_VECTOR":
            halves = NEAR.astype(np.float16)
            sent, values = list(halves), halves.astype(np.float64)
        else:
            upper, values = to_bfloat16(NEAR)
            sent, values = [row.tobytes() for row in upper], values.astype(np.float64)
        scores = np.array([dense_scores(metric, values, query) for query in values[:5]])
    collection(client, name, kind, index, metric, dim=32, params=params)
    for start in range(0, MANY, 1000):
        client.insert(name, [{"id": i, "even": i % 2 == 0, "v": sent[i]} for i in range(start, start + 1000)])
    client.flush(name)
    eventually(lambda: client.describe_index(name, "v")["pending_index_rows"] == 0, "the index is built", 120)
    described = client.describe_index(name, "v")
    assert (described["index_type"], described["metric_type"], str(described["nlist"])) == (index, metric, "32")
    larger = metric in ("IP", "COSINE")
    for options, allowed in [({}, np.full(MANY, True)), ({"filter": "even == true"}, np.arange(MANY) % 2 == 0)]:
        found = client.search(name, sent[:5], anns_field="v", limit=10, search_params={"params": {"nprobe": 16}}, **options)
        right = 0
        for hits, of_query in zip(found, scores, strict=True):
            best = np.sort(of_query[allowed])
            worst = best[-10] if larger else best[9]
            assert len(hits) == 10 and all(allowed[hit["id"]] for hit in hits)
            for hit in hits:
                assert hit["distance"] == pytest.approx(of_query[hit["id"]], rel=1e-4, abs=1e-4)
                right += of_query[hit["id"]] >= worst if larger else of_query[hit["id"]] <= worst
        assert right >= 45, f"{right} of 50"


def test_describe_names_the_types(client, name):
    collection(client, name, "BINARY_VECTOR", "BIN_FLAT", "JACCARD", dim=64)
    field = client.describe_collection(name)["fields"][2]
    assert field["type"] == DataType.BINARY_VECTOR and field["params"]["dim"] == 64
    index = client.describe_index(name, "v")
    assert (index["index_type"], index["metric_type"], index["state"]) == ("BIN_FLAT", "JACCARD", "Finished")


@pytest.mark.parametrize(
    ("kind", "index", "metric", "dim", "message"),
    [
        ("FLOAT16_VECTOR", "HNSW_PQ", "L2", 20, "the dimension should be a multiple of 'm': dimension 20, m 32"),
        ("BINARY_VECTOR", "HNSW_SQ", "HAMMING", 16, "not supported: index type HNSW_SQ"),
        ("INT8_VECTOR", "IVF_FLAT", "L2", 16, "not supported: index type IVF_FLAT"),
        ("FLOAT16_VECTOR", "BIN_IVF_FLAT", "L2", 16, "not supported: index type BIN_IVF_FLAT"),
        ("BFLOAT16_VECTOR", "IVF_PQ", "L2", 16, "param 'm' not exist in json"),
        ("FLOAT16_VECTOR", "FLAT", "HAMMING", 16, "float vector index does not support metric type: HAMMING"),
        ("INT8_VECTOR", "AUTOINDEX", "JACCARD", 16, "int vector index does not support metric type: JACCARD"),
        ("BINARY_VECTOR", "BIN_FLAT", "L2", 16, "binary vector index does not support metric type: L2"),
        ("BINARY_VECTOR", "BIN_IVF_FLAT", "L2", 16, "binary vector index does not support metric type: L2"),
        ("BINARY_VECTOR", "IVF_FLAT", "HAMMING", 16, "not supported: index type IVF_FLAT"),
        ("SPARSE_FLOAT_VECTOR", "SPARSE_INVERTED_INDEX", "L2", None, "sparse float vector index does not support metric type: L2"),
        ("BINARY_VECTOR", "BIN_FLAT", "HAMMING", 20, "should be multiple of 8"),
        ("INT8_VECTOR", "FLAT", "L2", 40_000, "should be in range 2 ~ 32768"),
    ],
)
def test_what_a_type_does_not_have_is_refused(client, name, kind, index, metric, dim, message):
    with pytest.raises((MilvusException, Exception), match=message):
        collection(client, name, kind, index, metric, dim=dim)


def test_queries_of_another_type_or_dimension_are_refused(client, name):
    collection(client, name, "FLOAT16_VECTOR", "FLAT", "L2")
    fill(client, name, list(FLOATS.astype(np.float16)), False)
    with pytest.raises(MilvusException, match="vector type must be the same, field v is a Float16Vector"):
        client.search(name, [INTS[0]], anns_field="v", limit=1)
    with pytest.raises(MilvusException, match="vector dimension mismatch, expected vector size\\(byte\\) 32, actual 16"):
        client.search(name, [np.zeros(8, np.float16)], anns_field="v", limit=1)
    with pytest.raises(MilvusException, match="metric type not match"):
        client.search(name, [np.zeros(DIM, np.float16)], anns_field="v", limit=1, search_params={"metric_type": "IP"})
