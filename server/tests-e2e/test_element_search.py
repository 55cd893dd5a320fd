"""Element-level search: vectors in arrays of structs one by one, next to numpy over all of them."""

import numpy as np
import pytest
from pymilvus import AnnSearchRequest, DataType, MilvusClient, MilvusException, RRFRanker, WeightedRanker
from pymilvus.client.embedding_list import EmbeddingList

ROWS = 500
DIM = 8


def create(client: MilvusClient, name: str, metric: str, index: str, **params) -> None:
    struct = client.create_struct_field_schema()
    struct.add_field("text", DataType.VARCHAR, max_length=20)
    struct.add_field("n", DataType.INT64)
    struct.add_field("v", DataType.FLOAT_VECTOR, dim=DIM)
    struct.add_field("w", DataType.FLOAT_VECTOR, dim=DIM)
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
    indexes.add_index("chunks[v]", index_name="v", index_type=index, metric_type=metric, params=params)
    indexes.add_index("chunks[w]", index_name="w", index_type="FLAT", metric_type=metric)
    client.create_collection(name, schema=schema, index_params=indexes, consistency_level="Strong")


def lists() -> list[np.ndarray | None]:
    """What each row has: NULL, nothing, or some vectors."""
    draw = np.random.default_rng(8)
    made = []
    for key in range(ROWS):
        count = 0 if key % 40 == 7 else draw.integers(0, 6)
        made.append(None if key % 50 == 9 else draw.normal(size=(count, DIM)).astype(np.float32))
    return made


def fill(client: MilvusClient, name: str, data: list[np.ndarray | None]) -> None:
    def struct(key: int, place: int, vector: np.ndarray) -> dict:
        return {"text": f"t{key}", "n": place, "v": vector.tolist(), "w": vector[::-1].tolist()}

    rows = [
        {
            "id": key,
            "price": key % 10,
            "plain": [float(key), 0.0],
            "chunks": None if of is None else [struct(key, place, vector) for place, vector in enumerate(of)],
        }
        for key, of in enumerate(data)
    ]
    for start in range(0, ROWS, 100):
        client.insert(name, rows[start : start + 100])


def score(metric: str, query: np.ndarray, vector: np.ndarray) -> float:
    if metric == "L2":
        return float(((query - vector) ** 2).sum())
    if metric == "IP":
        return float(query @ vector)
    return float(query @ vector / np.linalg.norm(query) / np.linalg.norm(vector))


def expected(metric: str, query: np.ndarray, data, keep=lambda key, place: True) -> list[tuple[int, int, float]]:
    """Every element: key, place and score, best first."""
    elements = [
        (key, place, score(metric, query, vector))
        for key, of in enumerate(data)
        for place, vector in enumerate([] if of is None else of)
        if keep(key, place)
    ]
    return sorted(elements, key=lambda element: element[2], reverse=metric != "L2")


def places(hits) -> list[tuple[int, int]]:
    return [(hit["id"], hit["offset"]) for hit in hits]


def wanted(elements) -> list[tuple[int, int]]:
    return [(key, place) for key, place, _ in elements]


def queries(count: int = 3) -> np.ndarray:
    return np.random.default_rng(9).normal(size=(count, DIM)).astype(np.float32)


@pytest.mark.parametrize(
    ("metric", "index"),
    [("L2", "HNSW"), ("IP", "FLAT"), ("COSINE", "IVF_FLAT"), ("COSINE", "AUTOINDEX"), ("L2", "DISKANN")],
)
def test_every_element_is_a_hit_with_its_place(client, name, metric, index):
    create(client, name, metric, index)
    data = lists()
    fill(client, name, data)

    def check() -> None:
        given = queries()
        found = client.search(
            name,
            given.tolist(),
            anns_field="chunks[v]",
            limit=10,
            search_params={"params": {"nprobe": 128, "ef": 200, "search_list": 200}},
            output_fields=["price", "chunks[n]"],
        )
        for query, hits in zip(given, found, strict=True):
            best = expected(metric, query, data)[:10]
            assert len(hits) == 10
            assert len(set(places(hits)) & set(wanted(best))) >= 9
            scores = {(key, place): value for key, place, value in expected(metric, query, data)}
            for hit, place in zip(hits, places(hits), strict=True):
                assert hit["distance"] == pytest.approx(scores[place], abs=1e-4)
                assert hit["entity"]["price"] == hit["id"] % 10
                numbers = [chunk["n"] for chunk in hit["entity"]["chunks"]]
                assert numbers == list(range(len(data[hit["id"]])))

    check()
    client.flush(name)
    client.refresh_load(name)
    check()


def test_filters_ranges_offsets_and_deletes(client, name):
    create(client, name, "L2", "HNSW")
    data = lists()
    fill(client, name, data)
    client.flush(name)
    query = queries(1)[0]

    def search(search_params: dict | None = None, **options):
        # So wide that a graph of this size is walked as a whole.
        given = {"params": {"ef": 2_000} | (search_params or {})}
        return client.search(name, [query.tolist()], anns_field="chunks[v]", search_params=given, **options)[0]

    def best(keep=lambda key, place: True):
        return wanted(expected("L2", query, data, keep))

    assert places(search(limit=5, offset=3)) == best()[3:8]
    assert places(search(limit=8, filter="price == 3")) == best(lambda key, _: key % 10 == 3)[:8]
    second = search(limit=8, filter="element_filter(chunks, $[n] == 1)")
    assert places(second) == best(lambda _, place: place == 1)[:8]
    both = search(limit=8, filter="price > 4 and element_filter(chunks, $[n] >= 2 && $[n] < 4)")
    assert places(both) == best(lambda key, place: key % 10 > 4 and 2 <= place < 4)[:8]
    # match_any chooses rows, of which every element may be found.
    rows = search(limit=8, filter="match_any(chunks, $[n] == 4)")
    assert places(rows) == best(lambda key, _: len(data[key]) > 4)[:8]
    every = expected("L2", query, data)
    near, far = ((every[at - 1][2] + every[at][2]) / 2 for at in (4, 30))
    ranged = search(limit=100, search_params={"radius": far, "range_filter": near})
    assert places(ranged) == wanted(every[4:30])
    gone = every[0][0]
    client.delete(name, ids=[gone])
    assert places(search(limit=5)) == best(lambda key, _: key != gone)[:5]


def test_rows_come_once_when_they_are_grouped_by_their_key(client, name):
    create(client, name, "COSINE", "FLAT")
    data = lists()
    fill(client, name, data)
    client.flush(name)
    query = queries(1)[0]

    def grouped(size: int, limit: int = 20) -> list[tuple[int, int]]:
        groups = {}
        for key, place, _ in expected("COSINE", query, data):
            groups.setdefault(key, []).append((key, place))
        return [place for of in list(groups.values())[:limit] for place in of[:size]]

    def search(**options):
        found = client.search(name, [query.tolist()], anns_field="chunks[v]", limit=20, group_by_field="id", **options)
        return places(found[0])

    assert search() == grouped(1)
    assert search(group_size=2, strict_group_size=True) == grouped(2)
    with pytest.raises(MilvusException, match="grouped by the primary key 'id' only"):
        client.search(name, [query.tolist()], anns_field="chunks[v]", limit=5, group_by_field="price")


def test_an_iterator_gives_every_element_once(client, name):
    create(client, name, "L2", "FLAT")
    data = lists()
    fill(client, name, data)
    query = queries(1)[0]
    iterator = client.search_iterator(name, [query.tolist()], batch_size=100, limit=350, anns_field="chunks[v]")
    met = []
    while page := iterator.next():
        met.extend((hit["id"], hit["offset"]) for hit in page)
    iterator.close()
    assert met == wanted(expected("L2", query, data))[:350]


def collapsed(elements, strategy: str, topk: int) -> dict[int, float]:
    rows = {}
    for key, _, value in elements:
        rows.setdefault(key, []).append(value)
    best = lambda values: values[:topk] if strategy.startswith("topk") else values
    return {
        key: values[0] if strategy == "max" else (np.sum if strategy.endswith("sum") else np.mean)(best(values))
        for key, values in rows.items()
    }


@pytest.mark.parametrize("strategy", ["max", "sum", "avg", "topk_sum", "topk_avg", None])
def test_elements_become_rows_beside_other_searches(client, name, strategy):
    create(client, name, "IP", "FLAT")
    data = lists()
    fill(client, name, data)
    query = queries(1)[0]
    elements = expected("IP", query, data)[:40]
    rows = collapsed(elements, strategy or "max", 2)
    collapse = {"strategy": strategy} | ({"topk": 2} if (strategy or "").startswith("topk") else {})
    params = {"params": {"element_scope": {"collapse": collapse}}} if strategy else {}
    arms = [
        AnnSearchRequest([query.tolist()], "chunks[v]", params, limit=40),
        AnnSearchRequest([[0.0, 0.0]], "plain", {}, limit=1),
    ]
    # The second search has no weight: what is left are the scores of the first.
    hits = client.hybrid_search(name, arms, WeightedRanker(1.0, 0.0, norm_score=False), limit=len(rows))[0]
    scores = {hit["id"]: hit["distance"] for hit in hits}
    for key, value in rows.items():
        assert scores[key] == pytest.approx(value, abs=1e-3)
    assert not any("offset" in hit for hit in hits)


def test_searches_of_the_same_structs_are_fused_by_elements(client, name):
    create(client, name, "IP", "FLAT")
    data = lists()
    fill(client, name, data)
    query = queries(1)[0]
    arms = [
        AnnSearchRequest([query.tolist()], "chunks[v]", {}, limit=30),
        AnnSearchRequest([query.tolist()], "chunks[w]", {}, limit=30),
    ]
    turned = [None if of is None else of[:, ::-1] for of in data]
    ranks = {}
    for of_arm in (expected("IP", query, data), expected("IP", query, turned)):
        for rank, element in enumerate(wanted(of_arm[:30]), start=1):
            ranks[element] = ranks.get(element, 0.0) + 1 / (60 + rank)
    hits = client.hybrid_search(name, arms, RRFRanker(), limit=10)[0]
    best = sorted(ranks.values(), reverse=True)[:10]
    for hit, value in zip(hits, best, strict=True):
        assert hit["distance"] == pytest.approx(value, rel=1e-5)
        assert ranks[(hit["id"], hit["offset"])] == pytest.approx(value, rel=1e-5)


def test_what_elements_do_not_have_is_refused(client, name):
    create(client, name, "L2", "HNSW")
    fill(client, name, lists())
    query = queries(1)[0].tolist()

    def refused(what: str, data, **options):
        with pytest.raises(MilvusException, match=what):
            client.search(name, data, limit=3, anns_field="chunks[v]", **options)

    made = EmbeddingList()
    made.add(query)
    refused("the query is an embedding list", [made])
    refused("metric type not match", [query], search_params={"metric_type": "MAX_SIM_L2"})
    refused("vector dimension mismatch", [query[:-1]])
    scope = {"params": {"element_scope": {"collapse": {"strategy": "max"}}}}
    refused("element_scope is for the searches of a hybrid search", [query], search_params=scope)

    def fused(what: str, first: AnnSearchRequest, second: AnnSearchRequest, **options):
        with pytest.raises(MilvusException, match=what):
            client.hybrid_search(name, [first, second], RRFRanker(), limit=3, **options)

    def arm(field: str, collapse: dict | None = None) -> AnnSearchRequest:
        given = {"params": {"element_scope": {"collapse": collapse}}} if collapse else {}
        data = [0.0, 0.0] if field == "plain" else query
        return AnnSearchRequest([data], field, given, limit=5)

    fused("a sum needs a metric of which larger is better", arm("chunks[v]", {"strategy": "sum"}), arm("plain"))
    fused("stays one of elements", arm("chunks[v]", {"strategy": "max"}), arm("chunks[w]"))
    fused("is no search of elements", arm("plain", {"strategy": "max"}), arm("chunks[w]"))
    fused("strategy topk_avg needs topk", arm("chunks[v]", {"strategy": "topk_avg"}), arm("plain"))
    fused("grouped only when all are of elements", arm("chunks[v]"), arm("plain"), group_by_field="id")


@pytest.mark.parametrize(
    ("dtype", "metric", "to_wire"),
    [
        (DataType.FLOAT16_VECTOR, "L2", lambda vector: vector.astype(np.float16)),
        (DataType.INT8_VECTOR, "IP", lambda vector: (vector * 20).astype(np.int8)),
        (DataType.BINARY_VECTOR, "HAMMING", lambda vector: np.packbits(vector > 0).tobytes()),
    ],
)
def test_other_types_of_vectors(client, name, dtype, metric, to_wire):
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

    def distance(a: np.ndarray, b: np.ndarray) -> float:
        if metric == "HAMMING":
            return float(((a > 0) != (b > 0)).sum())
        a, b = (np.asarray(to_wire(vector), np.float64) for vector in (a, b))
        return float(((a - b) ** 2).sum()) if metric == "L2" else float(a @ b)

    query = data[3][0]
    every = {(key, place): distance(query, v) for key, of in enumerate(data) for place, v in enumerate(of)}
    hits = client.search(name, [to_wire(query)], anns_field="s[v]", limit=5)[0]
    best = sorted(every.values(), reverse=metric == "IP")[:5]
    assert len(hits) == 5
    for hit, value in zip(hits, best, strict=True):
        assert every[(hit["id"], hit["offset"])] == pytest.approx(hit["distance"], rel=1e-2, abs=1e-2)
        assert hit["distance"] == pytest.approx(value, rel=1e-2, abs=1e-2)
