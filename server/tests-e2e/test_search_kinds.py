"""Kinds of search as pymilvus asks for them, against exact answers computed here."""

import numpy as np
import pytest
from harness import eventually
from pymilvus import MilvusException

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
