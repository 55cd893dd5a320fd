"""Kinds of search as pymilvus asks for them, against exact answers computed here."""

import math

import numpy as np
import pytest
from harness import eventually
from pymilvus import (
    AnnSearchRequest,
    DataType,
    Function,
    FunctionScore,
    FunctionType,
    MilvusClient,
    MilvusException,
    RRFRanker,
    WeightedRanker,
)

DIM, COUNT = 16, 3000


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(5)
    centres = random.standard_normal((30, DIM))
    base = centres[random.integers(0, 30, COUNT)] + 0.5 * random.standard_normal((COUNT, DIM))
    queries = centres[random.integers(0, 30, 20)] + 0.5 * random.standard_normal((20, DIM))
    return base.astype(np.float32), queries.astype(np.float32)


def scores_of(base, query, metric):
    """The score of every row, and a key that sorts best first."""
    if metric == "L2":
        scores = ((base - query) ** 2).sum(1)
        return scores, scores
    scores = base @ query
    if metric == "COSINE":
        scores = scores / np.linalg.norm(base, axis=1) / np.linalg.norm(query)
    return scores, -scores


def fill(make, client, name, base, *, metric="L2", index="FLAT", params=None, sealed=2000):
    """Rows `id, v, n = id % 7, tag`; the first `sealed` are in segments with their index built, the others grow."""
    make(id="INT64", v=DIM, n="INT64", tag=("VARCHAR", {"max_length": 20}), metric=metric, index=index, params=params)

    def rows(start, end):
        return [{"id": i, "v": base[i], "n": i % 7, "tag": f"t{i % 11}"} for i in range(start, end)]

    client.insert(name, rows(0, sealed))
    client.flush(name)
    eventually(lambda: client.describe_index(name, "v")["pending_index_rows"] == 0, "the index is built", 120)
    client.insert(name, rows(sealed, len(base)))


def refused(call):
    with pytest.raises(MilvusException) as caught:
        call()
    return caught.value.code, caught.value.message


# --- ranges


@pytest.mark.parametrize("metric", ["L2", "IP", "COSINE"])
@pytest.mark.parametrize(
    ("index", "params", "search", "least"),
    [
        ("FLAT", {}, {}, 1.0),
        ("HNSW", {"M": 16, "efConstruction": 200}, {}, 0.95),
        ("IVF_FLAT", {"nlist": 16}, {"nprobe": 8}, 0.9),
    ],
)
def test_a_range_search_finds_the_rows_of_the_range(make, client, name, data, metric, index, params, search, least):
    base, queries = data
    fill(make, client, name, base, metric=metric, index=index, params=params)
    found_rows = expected_rows = 0
    for number, query in enumerate(queries):
        scores, key = scores_of(base, query, metric)
        allowed = np.arange(COUNT) % 7 == 3 if number % 2 else np.full(COUNT, True)
        order = np.argsort(np.where(allowed, key, np.inf), kind="stable")[: allowed.sum()]
        # Ends between two rows, so that rounding does not decide.
        far = float(scores[order[60:62]].mean())
        near = float(scores[order[10:12]].mean()) if number % 3 else None
        first = 11 if near is not None else 0
        limit, offset = [(100, 0), (20, 0), (10, 5)][number % 3]
        expected = order[first:61][offset : offset + limit]
        given = {**search, "radius": far, **({} if near is None else {"range_filter": near})}
        hits = client.search(
            name, [query], limit=limit, offset=offset, filter="n == 3" if number % 2 else "",
            search_params={"metric_type": metric, "params": given},
        )[0]  # fmt: skip
        for hit in hits:
            assert hit["distance"] == pytest.approx(scores[hit["id"]], rel=1e-4, abs=1e-4)
            inside = hit["distance"] < far if metric == "L2" else hit["distance"] > far
            assert inside and allowed[hit["id"]]
            assert near is None or (hit["distance"] >= near if metric == "L2" else hit["distance"] <= near)
        found_rows += len({hit["id"] for hit in hits} & set(expected.tolist()))
        expected_rows += len(expected)
        if least == 1.0:
            assert [hit["id"] for hit in hits] == expected.tolist()
    assert found_rows >= least * expected_rows


def test_the_far_end_is_open_and_the_near_end_closed(make, client, name):
    make(id="INT64", v=2, metric="L2")
    client.insert(name, [{"id": i, "v": [float(i), 0.0]} for i in range(6)])

    def ids(**given):
        hits = client.search(name, [[0.0, 0.0]], limit=10, search_params={"params": given})[0]
        return [hit["id"] for hit in hits]

    assert ids(radius=4.0) == [0, 1]
    assert ids(radius=16.0, range_filter=4.0) == [2, 3]
    assert ids(radius=0.0) == []


def test_ends_that_make_no_range_are_refused(make, client, name):
    make(id="INT64", v=2, metric="IP")
    client.insert(name, [{"id": 1, "v": [1.0, 0.0]}])

    def search(**given):
        return refused(lambda: client.search(name, [[1.0, 0.0]], limit=1, search_params={"params": given}))

    code, message = search(radius=2.0, range_filter=1.0)
    assert code == 1100 and "range_filter(1) must be greater than radius(2)" in message
    code, message = search(range_filter=1.0)
    assert code == 1100 and "without radius" in message
    code, message = search(radius="far")
    assert code == 1100 and "radius [far] is invalid" in message


# --- groups


def groups_of(order, group_of, limit, size, offset=0):
    """The groups met in `order`, each with its first rows."""
    groups = {}
    for row in order:
        groups.setdefault(group_of(row), []).append(row)
    return [rows[:size] for rows in list(groups.values())[offset : offset + limit]]


@pytest.mark.parametrize("index", ["FLAT", "HNSW"])
@pytest.mark.parametrize("metric", ["L2", "COSINE"])
def test_groups_come_nearest_first_and_as_many_as_there_are(make, client, name, data, index, metric):
    base, queries = data
    params = {"M": 16, "efConstruction": 200} if index == "HNSW" else {}
    fill(make, client, name, base, metric=metric, index=index, params=params)
    same = whole = 0
    for number, query in enumerate(queries[:8]):
        _, key = scores_of(base, query, metric)
        order = np.argsort(key, kind="stable").tolist()
        limit, size, offset = [(5, 1, 0), (11, 3, 0), (4, 2, 3), (20, 2, 0)][number % 4]
        expected = groups_of(order, lambda row: f"t{row % 11}", limit, size, offset)
        hits = client.search(
            name, [query], limit=limit, offset=offset, group_by_field="tag", group_size=size, strict_group_size=True,
            output_fields=["tag"], search_params={"metric_type": metric},
        )[0]  # fmt: skip
        found = groups_of([hit["id"] for hit in hits], lambda row: f"t{row % 11}", 100, 100)
        assert [hit["id"] for hit in hits] == sum(found, []), "the rows of a group come together"
        assert all(hit["entity"]["tag"] == f"t{hit['id'] % 11}" for hit in hits)
        assert len(found) == len(expected) and [len(group) for group in found] == [len(group) for group in expected]
        if index == "FLAT":
            assert found == expected
        same += sum(len(set(a) & set(b)) for a, b in zip(found, expected))
        whole += sum(map(len, expected))
    assert same >= 0.9 * whole


def test_groups_by_several_fields_and_filters(make, client, name, data):
    base, queries = data
    fill(make, client, name, base)
    for query in queries[:4]:
        _, key = scores_of(base, query, "L2")
        order = [row for row in np.argsort(key, kind="stable").tolist() if row % 7 < 2]
        hits = client.search(name, [query], limit=30, filter="n < 2", group_by_fields=["tag", "n"], group_size=1)[0]
        expected = groups_of(order, lambda row: (row % 11, row % 7), 30, 1)
        assert [[hit["id"]] for hit in hits] == expected
        assert len(expected) == 22


def test_groups_that_cannot_be_are_refused(make, client, name):
    make(id="INT64", v=2, price="DOUBLE")
    client.insert(name, [{"id": 1, "v": [1.0, 0.0], "price": 1.0}])

    def search(**given):
        return refused(lambda: client.search(name, [[1.0, 0.0]], limit=1, **given))

    assert "allowed are BOOL" in search(group_by_field="price")[1]
    assert "not found" in search(group_by_field="prize")[1]
    assert "should be in range [1, 10]" in search(group_by_field="id", group_size=11)[1]
    message = search(group_by_field="id", search_params={"params": {"radius": 1.0}})[1]
    assert "range-search when doing search-group-by" in message


# --- hybrid search


def arm(data, field, limit, expr="", **params):
    return AnnSearchRequest(data=data, anns_field=field, param={"params": params}, limit=limit, filter=expr)


@pytest.fixture
def two_fields(make, client, name, data):
    """`v` under L2 and `w` under COSINE, half of it in a segment."""
    base, _ = data
    other = np.roll(base, 5, axis=1)[::-1].copy()[:600]
    base = base[:600]
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("n", DataType.INT64)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=DIM)
    schema.add_field("w", DataType.FLOAT_VECTOR, dim=DIM)
    client.create_collection(name, schema=schema)
    indexes = client.prepare_index_params()
    indexes.add_index("v", index_type="FLAT", metric_type="L2")
    indexes.add_index("w", index_type="FLAT", metric_type="COSINE")
    client.create_index(name, indexes)
    client.load_collection(name)
    rows = [{"id": i, "n": i % 7, "v": base[i], "w": other[i]} for i in range(600)]
    client.insert(name, rows[:300])
    client.flush(name)
    client.insert(name, rows[300:])
    return base, other


def ranked(base, query, metric, limit, keep=lambda row: True):
    scores, key = scores_of(base, query, metric)
    order = [row for row in np.argsort(key, kind="stable").tolist() if keep(row)][:limit]
    return order, {row: float(scores[row]) for row in order}


def best(scores, limit, offset=0, ascending=False):
    order = sorted(scores, key=lambda row: (scores[row] if ascending else -scores[row], row))
    return order[offset : offset + limit]


def check(hits, scores, expected):
    assert [hit["id"] for hit in hits] == expected
    assert [hit["distance"] for hit in hits] == pytest.approx([scores[row] for row in expected], rel=1e-4, abs=1e-5)


def test_reciprocal_rank_fusion(client, name, two_fields, data):
    base, other = two_fields
    queries = data[1][:3]
    arms = [arm(queries, "v", 40), arm(queries, "w", 30, "n < 3"), arm(queries, "v", 10, radius=12.0)]
    rankers = [
        (RRFRanker(10), 10),
        (Function("r", FunctionType.RERANK, [], params={"reranker": "rrf", "k": 10}), 10),
        (RRFRanker(), 60),
    ]
    for ranker, k in rankers:
        found = client.hybrid_search(name, arms, ranker, limit=12, offset=2)
        for hits, query in zip(found, queries):
            lists = [
                ranked(base, query, "L2", 40)[0],
                ranked(other, query, "COSINE", 30, lambda row: row % 7 < 3)[0],
                [row for row, score in ranked(base, query, "L2", 10)[1].items() if score < 12.0],
            ]
            scores = {}
            for rows in lists:
                for rank, row in enumerate(rows, 1):
                    scores[row] = scores.get(row, 0.0) + 1.0 / (k + rank)
            check(hits, scores, best(scores, 12, 2))


def normalized(metric, score):
    return (1.0 + score) / 2.0 if metric == "COSINE" else 1.0 - 2.0 * math.atan(score) / math.pi


def test_weighted_fusion(client, name, two_fields, data):
    base, other = two_fields
    query = data[1][0]
    first, second = ranked(base, query, "L2", 50)[1], ranked(other, query, "COSINE", 50)[1]

    def run(ranker, arms):
        return client.hybrid_search(name, arms, ranker, limit=20)[0]

    both = [arm([query], "v", 50), arm([query], "w", 50)]
    scores = {row: 0.0 for row in first | second}
    for row in scores:
        scores[row] += 0.3 * normalized("L2", first[row]) if row in first else 0.0
        scores[row] += 0.9 * normalized("COSINE", second[row]) if row in second else 0.0
    check(run(WeightedRanker(0.3, 0.9, norm_score=True), both), scores, best(scores, 20))
    function = {"reranker": "weighted", "weights": [0.3, 0.9], "norm_score": True}
    check(run(Function("r", FunctionType.RERANK, [], params=function), both), scores, best(scores, 20))
    # Directions differ: the distance becomes a similarity, the similarity stays as it is.
    scores = {row: 0.0 for row in first | second}
    for row in scores:
        scores[row] += 0.3 * normalized("L2", first[row]) if row in first else 0.0
        scores[row] += 0.9 * second.get(row, 0.0)
    check(run(WeightedRanker(0.3, 0.9, norm_score=False), both), scores, best(scores, 20))
    # Distances alone are added, and less is better.
    third = ranked(base, query, "L2", 30, lambda row: row % 7 == 1)[1]
    scores = {row: 0.5 * first.get(row, 0.0) + third.get(row, 0.0) for row in first | third}
    same = [arm([query], "v", 50), arm([query], "v", 30, "n == 1")]
    check(run(WeightedRanker(0.5, 1.0, norm_score=False), same), scores, best(scores, 20, ascending=True))


def test_hybrid_groups_and_what_does_not_go_together(client, name, two_fields, data):
    query = data[1][:1]
    arms = [arm(query, "v", 50), arm(query, "w", 50)]
    hits = client.hybrid_search(
        name, arms, RRFRanker(), limit=7, group_by_field="n", group_size=2, strict_group_size=True, output_fields=["n"]
    )[0]
    groups = [hit["entity"]["n"] for hit in hits]
    assert len(hits) == 14 and len(set(groups)) == 7 and groups[::2] == groups[1::2]

    def search(arms, ranker):
        return refused(lambda: client.hybrid_search(name, arms, ranker, limit=5))

    assert "[expected=2][actual=1]" in search(arms, WeightedRanker(1.0))[1]
    assert "should be in range [0, 1], got 1.5" in search(arms, WeightedRanker(1.0, 1.5))[1]
    assert "should be in range (0, 16384)" in search(arms, RRFRanker(0))[1]
    uneven = [arms[0], arm(data[1][:2], "w", 5)]
    assert "nq mismatch" in search(uneven, RRFRanker())[1]


# --- rerankers


def decayed(curve, x, origin, scale, offset, decay):
    beyond = max(0.0, abs(x - origin) - offset)
    if curve == "gauss":
        return math.exp(beyond**2 * math.log(decay) / scale**2)
    if curve == "exp":
        return math.exp(beyond * math.log(decay) / scale)
    return max(decay, 1.0 - beyond * (1.0 - decay) / scale)


@pytest.mark.parametrize("curve", ["gauss", "exp", "linear"])
@pytest.mark.parametrize("metric", ["L2", "IP", "COSINE"])
def test_decay_fades_scores_with_a_field(make, client, name, data, curve, metric):
    base, queries = data[0][:500], data[1]
    fill(make, client, name, base, metric=metric, sealed=300)
    params = {"reranker": "decay", "function": curve, "origin": 3, "scale": 2, "offset": 0.5, "decay": 0.3}
    ranker = Function("d", FunctionType.RERANK, ["n"], params=params)
    for query in queries[:3]:
        order, scores = ranked(base, query, metric, 40)
        for row in order:
            score = scores[row] if metric != "L2" else normalized("L2", scores[row])
            scores[row] = score * decayed(curve, row % 7, 3, 2, 0.5, 0.3)
        hits = client.search(name, [query], limit=30, offset=10, ranker=ranker)[0]
        check(hits, scores, best(scores, 30, 10))


def test_decay_of_groups(make, client, name, data):
    base, queries = data[0][:500], data[1]
    fill(make, client, name, base, sealed=300)
    params = {"reranker": "decay", "function": "exp", "origin": 3, "scale": 2, "decay": 0.3}
    ranker = Function("d", FunctionType.RERANK, ["n"], params=params)
    asked = {"group_by_field": "tag", "group_size": 2, "strict_group_size": True, "limit": 8}
    for query in queries[:3]:
        found = [hit["id"] for hit in client.search(name, [query], **asked)[0]]
        _, scores = ranked(base, query, "L2", 500)
        scores = {row: normalized("L2", scores[row]) * decayed("exp", row % 7, 3, 2, 0, 0.3) for row in found}
        order = sorted(found, key=lambda row: (-scores[row], row))
        expected = sum(groups_of(order, lambda row: row % 11, 8, 2), [])
        hits = client.search(name, [query], ranker=ranker, **asked)[0]
        assert [hit["id"] for hit in hits] == expected
        assert [hit["distance"] for hit in hits] == pytest.approx([scores[row] for row in expected], rel=1e-5)


def test_boost_raises_the_rows_of_a_filter(make, client, name, data):
    base, queries = data[0][:500], data[1]
    fill(make, client, name, base, metric="IP", sealed=300)

    def boost(name, **params):
        return Function(name, FunctionType.RERANK, [], params={"reranker": "boost", **params})

    order, plain = ranked(base, queries[0], "IP", 50)
    by_filter = [boost("a", filter="n == 2", weight=3.0), boost("b", filter="n < 4", weight=2.0)]
    for mode, boosts in [("multiply", {2: 6.0, 0: 2.0, 1: 2.0, 3: 2.0}), ("sum", {2: 5.0, 0: 2.0, 1: 2.0, 3: 2.0})]:
        scores = {row: plain[row] * boosts.get(row % 7, 1.0) for row in order}
        ranker = FunctionScore(functions=by_filter, params={"boost_mode": "multiply", "function_mode": mode})
        check(client.search(name, queries[:1], limit=50, ranker=ranker)[0], scores, best(scores, 50))
    scores = {row: plain[row] + (3.0 if row % 7 == 2 else 0.0) for row in order}
    ranker = FunctionScore(functions=by_filter[:1], params={"boost_mode": "sum"})
    check(client.search(name, queries[:1], limit=50, ranker=ranker)[0], scores, best(scores, 50))
    ranker = boost("r", weight=1.0, random_score={"seed": 7, "field": "id"})
    once, twice = (client.search(name, queries[:1], limit=50, ranker=ranker)[0] for _ in range(2))
    assert [dict(hit) for hit in once] == [dict(hit) for hit in twice]
    assert {hit["id"] for hit in once} == set(order) and [hit["id"] for hit in once] != order


def test_decay_on_top_of_a_hybrid_search(client, name, two_fields, data):
    base, other = two_fields
    query = data[1][0]
    arms = [arm([query], "v", 30), arm([query], "w", 30)]
    first, second = ranked(base, query, "L2", 30)[1], ranked(other, query, "COSINE", 30)[1]
    params = {"reranker": "decay", "function": "exp", "origin": 0, "scale": 3, "score_mode": "sum", "norm_score": True}
    hits = client.hybrid_search(name, arms, Function("d", FunctionType.RERANK, ["n"], params=params), limit=15)[0]
    scores = {}
    for row in first | second:
        score = (normalized("L2", first[row]) if row in first else 0.0) + (
            normalized("COSINE", second[row]) if row in second else 0.0
        )
        scores[row] = score * decayed("exp", row % 7, 0, 3, 0, 0.5)
    check(hits, scores, best(scores, 15))


def test_rankers_that_are_not_there_are_refused(make, client, name):
    make(id="INT64", v=2, n="INT64")
    client.insert(name, [{"id": 1, "v": [1.0, 0.0], "n": 1}])

    def search(inputs, **params):
        ranker = Function("f", FunctionType.RERANK, inputs, params=params)
        return refused(lambda: client.search(name, [[1.0, 0.0]], limit=1, ranker=ranker))

    code, message = search(["n"], reranker="xgboost", model_resource="m")
    assert code == 3000 and "reranker xgboost; function_chains has it" in message
    decay = {"reranker": "decay", "function": "gauss", "origin": 0}
    assert "scale must be greater than 0" in search(["n"], **decay, scale=0)[1]
    assert "[0.001, 0.999]" in search(["n"], **decay, scale=1, decay=1)[1]
    assert "lost param: scale" in search(["n"], **decay)[1]
    assert "exactly one input field" in search([], **decay, scale=1)[1]
    assert "must set weight" in search([], reranker="boost")[1]


# --- iterators


def disturb(client, name, base):
    """Writes that change the answers of everything that is not pinned."""
    client.delete(name, filter="id % 2 == 0")
    client.insert(name, [{"id": 10_000 + i, "v": base[i], "n": 3, "tag": "new"} for i in range(100)])
    client.flush(name)


@pytest.mark.parametrize("index", ["FLAT", "HNSW"])
@pytest.mark.parametrize("metric", ["L2", "IP", "COSINE"])
def test_a_search_iterator_goes_through_the_rows_that_were_there(make, client, name, data, index, metric):
    base, queries = data[0][:900], data[1]
    params = {"M": 16, "efConstruction": 200} if index == "HNSW" else {}
    fill(make, client, name, base, metric=metric, index=index, params=params, sealed=600)
    iterator = client.search_iterator(
        name, [queries[0]], batch_size=70, filter="n != 3", output_fields=["n"], search_params={"metric_type": metric}
    )
    found = []
    while page := iterator.next():
        found += [(hit["id"], hit["distance"]) for hit in page]
        if len(found) == 140:
            disturb(client, name, base)
    iterator.close()
    order, scores = ranked(base, queries[0], metric, 900, lambda row: row % 7 != 3)
    assert len(found) == len({row for row, _ in found}) == len(order)
    assert [score for _, score in found] == pytest.approx([scores[row] for row, _ in found], rel=1e-4, abs=1e-4)
    ascending = [score if metric == "L2" else -score for _, score in found]
    assert ascending == sorted(ascending)


def test_rows_of_one_distance_are_neither_lost_nor_repeated(make, client, name):
    make(id="INT64", v=2, metric="L2")
    client.insert(name, [{"id": i, "v": [float(i % 3), 0.0]} for i in range(50)])
    for size in (1, 7, 20):
        iterator = client.search_iterator(name, [[0.0, 0.0]], batch_size=size)
        found = []
        while page := iterator.next():
            assert len(page) <= size
            found += [hit["id"] for hit in page]
        assert found == sorted(range(50), key=lambda row: (row % 3, row))
    iterator = client.search_iterator(name, [[0.0, 0.0]], batch_size=7, limit=10)
    assert [len(iterator.next()), len(iterator.next())] == [7, 3]
    iterator = client.search_iterator(name, [[0.0, 0.0]], batch_size=7, search_params={"params": {"radius": 1.0}})
    found = []
    while page := iterator.next():
        found += [hit["id"] for hit in page]
    assert found == [row for row in range(50) if row % 3 == 0]
    client.delete(name, filter="id >= 0")
    client.insert(name, [{"id": i, "v": [float(i % 3), 0.0]} for i in range(49, -1, -1)])
    for size in (1, 7, 20):
        iterator = client.search_iterator(name, [[0.0, 0.0]], batch_size=size)
        found = []
        while page := iterator.next():
            found += [hit["id"] for hit in page]
        pages = [client.search(name, [[0.0, 0.0]], limit=size, offset=offset)[0] for offset in range(0, 50, size)]
        for rows in (found, [hit["id"] for page in pages for hit in page]):
            assert [row % 3 for row in rows] == sorted(row % 3 for row in rows)
            assert sorted(rows) == list(range(50)), "keys that do not ascend as they are stored"


def test_the_time_of_a_large_insert_is_no_iterator(make, client, name):
    make(id="INT64", v=2, metric="L2")
    rows = 260_000
    client.insert(name, [{"id": i, "v": [1.0, 0.0]} for i in range(rows)])
    # What is read has to be as new as the client's last write.
    assert len(client.search(name, [[1.0, 0.0]], limit=3, consistency_level="Session")[0]) == 3
    counted = client.query(name, output_fields=["count(*)"], consistency_level="Session")
    assert counted[0]["count(*)"] == rows


def test_a_query_iterator_goes_through_the_rows_that_were_there(make, client, name, data, tmp_path):
    base = data[0][:900]
    fill(make, client, name, base, sealed=600)
    for given in ({}, {"filter": "n < 5"}):
        keep = [row for row in range(900) if row % 7 < (5 if given else 7)]
        iterator = client.query_iterator(name, batch_size=100, output_fields=["id", "tag"], **given)
        found = [row["id"] for row in iterator.next()]
        if given:
            disturb(client, name, base)
        while page := iterator.next():
            assert all(row["tag"] == f"t{row['id'] % 11}" for row in page)
            found += [row["id"] for row in page]
        iterator.close()
        assert found == keep
    assert client.query(name, output_fields=["count(*)"])[0]["count(*)"] == 550


def test_query_iterators_with_limits_texts_as_keys_and_checkpoints(make, client, name, tmp_path):
    make(pk=("VARCHAR", {"max_length": 10}), v=2)
    keys = sorted(f"k{i}" for i in range(300))
    client.insert(name, [{"pk": key, "v": [0.0, 1.0]} for key in keys])

    def drain(iterator):
        found = []
        while page := iterator.next():
            found += [row["pk"] for row in page]
        return found

    assert drain(client.query_iterator(name, batch_size=40)) == keys
    assert drain(client.query_iterator(name, batch_size=40, limit=90)) == keys[:90]
    assert drain(client.query_iterator(name, batch_size=40, offset=55)) == keys[55:]
    checkpoint = str(tmp_path / "checkpoint")
    first = client.query_iterator(name, batch_size=40, iterator_cp_file=checkpoint)
    done = [row["pk"] for row in first.next()]
    client.insert(name, [{"pk": "k1000", "v": [0.0, 1.0]}])
    second = client.query_iterator(name, batch_size=40, iterator_cp_file=checkpoint)
    assert done + drain(second) == keys


def test_an_iterator_whose_snapshot_is_gone_says_so(own_server):
    client = MilvusClient(own_server.uri)
    client.create_collection("c", dimension=2)
    client.insert("c", [{"id": i, "vector": [1.0, 0.0]} for i in range(100)])
    by_key, by_distance = client.query_iterator("c", batch_size=10), client.search_iterator("c", [[1.0, 0.0]], batch_size=10)
    assert len(by_key.next()) == len(by_distance.next()) == 10
    own_server.restart()
    for iterator in (by_key, by_distance):
        code, message = refused(iterator.next)
        assert code == 1100 and "start a new iterator" in message
    client.close()


# --- keys, order, aggregates


def test_rows_serve_as_query_vectors(make, client, name, data):
    base = data[0][:300]
    fill(make, client, name, base, metric="COSINE", sealed=200)
    by_key = client.search(name, ids=[5, 250, 5], limit=4, filter="n > 1")
    by_vector = client.search(name, [base[5], base[250], base[5]], limit=4, filter="n > 1")
    assert [[dict(hit) for hit in hits] for hits in by_key] == [[dict(hit) for hit in hits] for hits in by_vector]
    code, message = refused(lambda: client.search(name, ids=[5, 7777], limit=1))
    assert code == 1100 and "do not exist: 7777" in message
    assert "another type" in refused(lambda: client.search(name, ids=["5"], limit=1))[1]


def test_what_is_found_comes_in_the_order_of_fields(make, client, name, data):
    base, queries = data[0][:300], data[1]
    fill(make, client, name, base, sealed=200)
    order, _ = ranked(base, queries[0], "L2", 20)
    hits = client.search(
        name, queries[:1], limit=20, order_by_fields=[{"field": "n", "order": "desc"}, {"field": "id", "order": "asc"}]
    )[0]
    assert [hit["id"] for hit in hits] == sorted(order, key=lambda row: (-(row % 7), row))
    rows = client.query(name, filter="id < 100", limit=30, offset=10, order_by=["tag:desc", "n"], output_fields=["id"])
    expected = sorted(range(100), key=lambda row: (row % 7, row))
    expected = sorted(expected, key=lambda row: f"t{row % 11}", reverse=True)[10:40]
    assert [row["id"] for row in rows] == expected
    # Groups come in the order of their first rows.
    asked = {"group_by_field": "tag", "group_size": 2, "strict_group_size": True}
    plain = [hit["id"] for hit in client.search(name, queries[:1], limit=6, offset=1, **asked)[0]]
    pairs = [plain[i : i + 2] for i in range(0, 12, 2)]
    hits = client.search(name, queries[:1], limit=6, offset=1, order_by_fields=[{"field": "id", "order": "desc"}], **asked)[0]
    assert [hit["id"] for hit in hits] == sum(sorted(pairs, key=lambda pair: -pair[0]), [])
    several = {"group_by_fields": ["tag", "n"], "order_by_fields": [{"field": "id", "order": "asc"}]}
    assert "several fields to group by" in refused(lambda: client.search(name, queries[:1], limit=2, **several))[1]
    assert "not found" in refused(lambda: client.query(name, limit=1, order_by=["no"]))[1]
    assert "allowed are BOOL" in refused(lambda: client.query(name, limit=1, order_by=["v"]))[1]


def test_aggregates(make, client, name, data):
    base = data[0][:300]
    fill(make, client, name, base, sealed=200)
    client.delete(name, ids=list(range(50)))
    rows = client.query(
        name, filter="id < 290", group_by_fields=["n"],
        output_fields=["n", "count(*)", "sum(id)", "min(tag)", "max(id)", "avg(id)"],
    )  # fmt: skip
    assert [row["n"] for row in rows] == list(range(7))
    for row in rows:
        ids = [i for i in range(50, 290) if i % 7 == row["n"]]
        assert row["count(*)"] == len(ids) and row["sum(id)"] == sum(ids) and row["max(id)"] == max(ids)
        assert row["min(tag)"] == min(f"t{i % 11}" for i in ids)
        assert row["avg(id)"] == pytest.approx(sum(ids) / len(ids))
    (row,) = client.query(name, filter="id >= 100", output_fields=["sum(id)", "count(id)"])
    assert row == {"sum(id)": sum(range(100, 300)), "count(id)": 200}
    pairs = client.query(name, filter="", group_by_fields=["n", "tag"], output_fields=["n", "tag", "count(*)"], limit=5)
    assert len(pairs) == 5
    assert "neither an aggregate" in refused(lambda: client.query(name, filter="id > 0", output_fields=["n", "count(*)"]))[1]
    assert "take numbers" in refused(lambda: client.query(name, filter="id > 0", output_fields=["sum(tag)"]))[1]


@pytest.mark.parametrize("level", ["Strong", "Session", "Bounded", "Eventually"])
def test_every_consistency_level_sees_own_writes(make, client, name, level):
    make(id="INT64", v=2)
    for i in range(20):
        client.insert(name, [{"id": i, "v": [float(i), 0.0]}])
        rows = client.query(name, filter=f"id == {i}", consistency_level=level)
        assert [row["id"] for row in rows] == [i]
        hits = client.search(name, [[float(i), 0.0]], limit=1, consistency_level=level)[0]
        assert hits[0]["id"] == i
