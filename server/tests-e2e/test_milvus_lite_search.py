"""Scores and order of random exact searches, compared with `milvus-lite`: ranges, groups, fusion, sparse vectors, pages.

The peer is asked for the whole ranking of the rows that a filter keeps, and what Elanus gives must be the piece of it that
was asked for, with the same scores. Rows of equal score may change places, as rounding decides; where the scores are equal to
the last bit, the smaller key comes first. The peer has float vectors and sparse ones only: for the other kinds it holds the
same numbers as floats. Set ELANUS_SEARCHES to compare more than the default.
"""

from __future__ import annotations

import os
import random
import struct
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import numpy as np
import pytest
import scipy.sparse  # noqa: F401: the client imports it when it first meets a sparse vector, which threads cannot do at once
from expressions import Expressions
from pymilvus import AnnSearchRequest, DataType, MilvusClient, MilvusException, RRFRanker, WeightedRanker

COUNT = int(os.environ.get("ELANUS_SEARCHES", "1200"))
PER_COLLECTION = 200
ROWS, DIM, TERMS = 160, 8, 40
METRICS = ("L2", "IP", "COSINE")
KEYS = ("INT8", "INT16", "INT32", "INT64", "BOOL", "VARCHAR")
"""Types that groups may be made of."""
ALL = 1000
"""More than there are rows, in groups too."""


class Searches:
    """A collection in both servers, `v` and `u` under two metrics and `s` sparse, and random requests for it."""

    def __init__(self, seed: int, client: MilvusClient, peer: MilvusClient):
        self.random = random.Random(seed)
        self.filters = Expressions(seed)
        self.there: dict[str, str] = {}
        self.seed, self.name, self.client, self.peer = seed, f"searches_{os.getpid()}_{seed}", client, peer
        self.metrics = {"v": METRICS[seed % 3], "u": METRICS[seed // 3 % 3], "s": "IP"}
        # On a grid many scores are equal, and sums are exact; elsewhere none are.
        self.grid = seed % 2 == 0
        self.rows = [self._row(key) for key in range(ROWS)]

    def _row(self, key: int) -> dict:
        return {**self.filters.row(key), "v": self.vector(), "u": self.vector(), "s": self.sparse()}

    def vector(self) -> list[float]:
        while True:
            found = [float(self.random.randint(-2, 2)) if self.grid else self.random.gauss(0, 1) for _ in range(DIM)]
            if any(found):
                return found

    def sparse(self) -> dict[int, float]:
        terms = self.random.sample(range(TERMS), self.random.randint(1, 8))
        return {term: float(self.random.randint(1, 4)) if self.grid else self.random.random() + 0.1 for term in terms}

    def query(self, field: str):
        return self.sparse() if field == "s" else self.vector()

    def filter(self) -> str:
        if self.random.random() >= 0.5:
            return ""
        (here, there), values = self.filters.filter()
        while values:
            (here, there), values = self.filters.filter()
        self.there[here] = there
        return here

    def to_peer(self, text: str) -> str:
        """A filter of `filter` in the words of the peer."""
        return self.there.get(text, text)

    def create(self, each: MilvusClient) -> None:
        schema = each.create_schema(enable_dynamic_field=self.filters.dynamic)
        schema.add_field("id", DataType.INT64, is_primary=True)
        for field in self.metrics:
            if field == "s":
                schema.add_field(field, DataType.SPARSE_FLOAT_VECTOR)
            else:
                schema.add_field(field, DataType.FLOAT_VECTOR, dim=DIM)
        for field, (kind, nullable) in self.filters.fields.items():
            limits = {"max_length": 20} if kind.endswith("VARCHAR") else {}
            if kind.startswith("ARRAY:"):
                limits.update(element_type=DataType[kind[6:]], max_capacity=8)
            schema.add_field(field, DataType[kind.split(":")[0]], nullable=nullable, **limits)
        indexes = each.prepare_index_params()
        for field, metric in self.metrics.items():
            indexes.add_index(field, index_type="SPARSE_INVERTED_INDEX" if field == "s" else "FLAT", metric_type=metric)
        each.create_collection(self.name, schema=schema, index_params=indexes, consistency_level="Strong")
        each.insert(self.name, self.rows[: ROWS // 2])
        if each is self.client:
            each.flush(self.name)
        each.insert(self.name, self.rows[ROWS // 2 :])

    def ranking(self, field: str, query, text: str, **given) -> list[tuple[int, float]] | None:
        """What the peer gives for a search without a limit; nothing when it does not take the filter."""
        text = self.to_peer(text)
        try:
            hits = self.peer.search(
                self.name, [query], anns_field=field, filter=text, limit=ALL, output_fields=["id"],
                search_params={"metric_type": self.metrics[field], **given.pop("search_params", {})}, **given,
            )[0]  # fmt: skip
        except MilvusException as error:
            assert "filter" in error.message or "expression" in error.message, f"{text}: {error.message}"
            return None
        return [(hit["id"], hit["distance"]) for hit in hits]

    def search(self, field: str, query, text: str, **given):
        return self.client.search(
            self.name, [query], anns_field=field, filter=text,
            search_params={"metric_type": self.metrics[field], **given.pop("search_params", {})}, **given,
        )[0]  # fmt: skip


@pytest.fixture(scope="module")
def collections(client, peer):
    """Every pair of metrics that the number of searches reaches, on and off the grid."""
    made = [Searches(seed, client, peer) for seed in range(max(6, COUNT // PER_COLLECTION))]
    both = [(each, server) for each in made for server in (client, peer)]
    # Together, because the client waits in steps of half a second for what takes milliseconds.
    with ThreadPoolExecutor(len(both)) as pool:
        list(pool.map(lambda pair: pair[0].create(pair[1]), both))
    yield made
    for each, server in both:
        server.drop_collection(each.name)


def each_search(collections: list[Searches], share: float):
    """The collections, and a name for the search; `share` of all searches."""
    for made in collections:
        for number in range(max(1, round(COUNT * share / len(collections)))):
            yield made, f"seed {made.seed}, search {number}"


def close(ours: float, theirs: float) -> bool:
    return abs(ours - theirs) <= 1e-5 * max(1.0, abs(theirs))


def is_piece(hits, ranking: list[tuple[int, float]], offset: int, limit: int, where: str, *, rising: bool) -> None:
    """The hits are the rows from `offset` on of the ranking, at most `limit` of them, and have its scores."""
    expected, scores = ranking[offset : offset + limit], dict(ranking)
    ours = [(hit["id"], hit["distance"]) for hit in hits]
    shown = f"{where}\nours:   {ours}\ntheirs: {expected}"
    assert len(ours) == len(expected), shown
    assert len({row for row, _ in ours}) == len(ours), shown
    for (row, score), (_, theirs) in zip(ours, expected):
        assert close(score, theirs), shown
        assert row in scores and close(score, scores[row]), shown
    ordered = sorted(ours, key=lambda hit: (hit[1] if rising else -hit[1], hit[0]))
    assert ours == ordered, f"order of equal scores, {shown}"


def page(made: Searches) -> tuple[int, int]:
    return made.random.choice((0, 0, 1, 7, 30)), made.random.choice((1, 5, 10, 50, 200))


@pytest.mark.parametrize("field", ["v", "s"])
def test_searches(collections, field):
    compared = 0
    for made, where in each_search(collections, 0.3 if field == "v" else 0.15):
        query, text, (offset, limit) = made.query(field), made.filter(), page(made)
        ranking = made.ranking(field, query, text)
        if ranking is None:
            continue
        fields = made.random.sample(sorted(made.filters.fields), 2)
        hits = made.search(field, query, text, limit=limit, offset=offset, output_fields=fields)
        rising = made.metrics[field] == "L2"
        is_piece(hits, ranking, offset, limit, f"{where}: {text}", rising=rising)
        for hit in hits:
            row = made.rows[hit["id"]]
            for asked in fields:
                kind = made.filters.fields[asked][0]
                if kind in ("FLOAT", "ARRAY:FLOAT"):
                    assert hit["entity"][asked] == (None if row[asked] is None else np.float32(row[asked]))
                elif kind == "TIMESTAMPTZ" and row[asked] is not None:
                    # The instant that was written, in the zone of the collection.
                    assert datetime.fromisoformat(hit["entity"][asked]) == datetime.fromisoformat(row[asked]), where
                else:
                    assert hit["entity"][asked] == row[asked], where
        decimals = made.random.randint(0, 6)
        scale = 10.0**decimals
        rounded = made.search(field, query, text, limit=limit, offset=offset, round_decimal=decimals)
        assert [hit["id"] for hit in rounded] == [hit["id"] for hit in hits]
        for hit, exact in zip(rounded, hits):
            assert abs(hit["distance"] - exact["distance"]) <= 0.5 / scale + 1e-5 * max(1.0, abs(exact["distance"])), where
            assert abs(hit["distance"] - round(hit["distance"], decimals)) <= 1e-6 * max(1.0, abs(hit["distance"])), where
        compared += 1
    assert compared


def test_ranges(collections):
    compared = found = 0
    for made, where in each_search(collections, 0.2):
        field = made.random.choice("vu")
        query, text, (offset, limit) = made.query(field), made.filter(), page(made)
        whole = made.ranking(field, query, text)
        if not whole:
            continue
        rising = made.metrics[field] == "L2"
        # A row's own score as an end where it is exact in both, which the peer's root is for squares; between rows elsewhere.
        ends = sorted({score for _, score in whole})
        if made.grid and made.metrics[field] != "COSINE":
            ends = [end for end in ends if not rising or float(end) ** 0.5 == round(float(end) ** 0.5)]
            ends = [float(round(end)) for end in ends]
        else:
            ends = [(low + high) / 2 for low, high in zip(ends, ends[1:]) if high - low > 1e-4]
        if not ends:
            continue
        near, far = sorted(made.random.choices(ends, k=2), reverse=not rising)
        given = {"radius": far} if near == far or made.random.random() < 0.3 else {"radius": far, "range_filter": near}
        expected = made.ranking(field, query, text, search_params={"params": given})
        hits = made.search(field, query, text, limit=limit, offset=offset, search_params={"params": given})
        is_piece(hits, expected, offset, limit, f"{where}: {given} of {made.metrics[field]}, {text}", rising=rising)
        compared, found = compared + 1, found + len(hits)
    assert compared and found


def groups_of(hits, group) -> list[tuple[object, list[tuple[int, float]]]]:
    """Rows by group, in the order of the groups' first rows."""
    found: dict = {}
    for row, score in hits:
        found.setdefault(group(row), []).append((row, score))
    return list(found.items())


def test_groups(collections):
    compared = 0
    for made, where in each_search(collections, 0.2):
        fields = [field for field, (kind, nullable) in made.filters.fields.items() if kind in KEYS and not nullable]
        if not fields or made.grid:
            continue  # ties between groups would decide which rows are theirs
        field, by = made.random.choice("vus"), made.random.choice(fields)
        query, text, size = made.query(field), made.filter(), made.random.randint(1, 4)
        offset, limit = made.random.choice((0, 0, 1, 3)), made.random.choice((1, 2, 5, 20))
        # What the peer gives of a whole ranking in groups; its pages count rows, where a page is of groups.
        ranking = made.ranking(field, query, text, group_by_field=by, group_size=size)
        if ranking is None:
            continue
        expected = groups_of(ranking, lambda row: made.rows[row][by])[offset : offset + limit]
        strict = made.random.random() < 0.7
        groups = {"group_by_field": by, "group_size": size, "strict_group_size": strict}
        hits = made.search(field, query, text, limit=limit, offset=offset, output_fields=[by], **groups)
        ours = groups_of([(hit["id"], hit["distance"]) for hit in hits], lambda row: made.rows[row][by])
        shown = f"{where}: {by}, {size} each, {text}\nours:   {ours}\ntheirs: {expected}"
        assert [group for group, _ in ours] == [group for group, _ in expected], shown
        for (_, rows), (_, theirs) in zip(ours, expected):
            # A search that need not fill its groups ends when it has them all: each has the first of its rows.
            wanted = theirs if strict else theirs[: len(rows)]
            assert rows and [row for row, _ in rows] == [row for row, _ in wanted], shown
            assert all(close(a, b) for (_, a), (_, b) in zip(rows, wanted)), shown
        assert all(hit["entity"][by] == made.rows[hit["id"]][by] for hit in hits), shown
        compared += 1
    assert compared


def test_fusion(collections):
    compared = 0
    for made, where in each_search(collections, 0.25):
        if made.grid:
            continue  # the rank of a row among equals is not defined, and the rank is what is summed
        arms, theirs = [], []
        for _ in range(made.random.randint(2, 3)):
            field, limit = made.random.choice("vus"), made.random.choice((5, 20, 100))
            query, text = made.query(field), made.filter()
            asked = {"anns_field": field, "data": [query], "limit": limit, "param": {"metric_type": made.metrics[field]}}
            arms.append(AnnSearchRequest(expr=text or None, **asked))
            theirs.append(AnnSearchRequest(expr=made.to_peer(text) or None, **asked))
        weights = [made.random.choice((0.0, 0.25, 0.5, 1.0)) for _ in arms]
        ranker = made.random.choice(
            (RRFRanker(), RRFRanker(made.random.randint(1, 200)), WeightedRanker(*weights), WeightedRanker(*weights, norm_score=True))
        )
        try:
            whole = made.peer.hybrid_search(made.name, theirs, ranker, limit=ALL)[0]
        except MilvusException as error:
            assert "filter" in error.message or "expression" in error.message, f"{where}: {error.message}"
            continue
        metrics = {made.metrics[arm.anns_field] for arm in arms}
        rising = metrics == {"L2"} and ranker.dict().get("params", {}).get("norm_score") is False
        ranking = sorted(((hit["id"], hit["distance"]) for hit in whole), key=lambda hit: hit[1] if rising else -hit[1])
        offset, limit = page(made)
        hits = made.client.hybrid_search(made.name, arms, ranker, limit=limit, offset=offset)[0]
        shown = [(arm.anns_field, made.metrics[arm.anns_field], arm.limit, arm.expr) for arm in arms]
        is_piece(hits, ranking, offset, limit, f"{where}: {ranker.dict()} of {shown}", rising=rising)
        compared += 1
    assert compared


def test_pages_of_a_query(collections):
    for made, where in each_search(collections, 0.1):
        text = made.filter() or "id >= 0"

        def pages(each, text, size):
            iterator = each.query_iterator(made.name, batch_size=size, filter=text, output_fields=["id"])
            found = []
            while batch := iterator.next():
                found.append([row["id"] for row in batch])
            iterator.close()
            return found

        size = made.random.choice((7, 50, 1000))
        try:
            theirs = pages(made.peer, made.to_peer(text), size)
        except MilvusException:
            continue
        assert pages(made.client, text, size) == theirs, f"{where}: {text}"


# What the searches above keep clear of, and the rule: what is asked for, the rows that it finds here, those that it finds there.
# Seven rows on a line under L2, in the groups a a a b b c d.
KNOWN = [
    ({"limit": 3, "group_by_field": "g", "group_size": 2, "strict_group_size": True}, [0, 1, 3, 4, 5], [0, 1, 3, 4],
     "a group with fewer rows than asked for comes with those that it has"),
    ({"limit": 2, "offset": 1, "group_by_field": "g", "group_size": 2}, [3, 4, 5], [1, 3], "limit and offset count groups"),
    ({"limit": 2, "search_params": {"params": {"radius": 1000.0, "range_filter": 16.0}}}, [4, 5], [4, 5], "as many as there are in the range"),
    ({"limit": 1, "search_params": {"params": {"radius": 1000.0, "range_filter": 25.0}}}, [5], [], "also when nearer rows are many"),
]  # fmt: skip


def test_known_differences_are_still_as_described(client, peer, name):
    for each in (client, peer):
        schema = each.create_schema()
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
        schema.add_field("g", DataType.VARCHAR, max_length=10)
        indexes = each.prepare_index_params()
        indexes.add_index("v", index_type="FLAT", metric_type="L2")
        each.create_collection(name, schema=schema, index_params=indexes, consistency_level="Strong")
        each.insert(name, [{"id": key, "v": [float(key), 0.0], "g": group} for key, group in enumerate("aaabbcd")])

    def found(each, given):
        return [hit["id"] for hit in each.search(name, [[0.0, 0.0]], **given)[0]]

    results = [(given, found(client, given), found(peer, given), rule) for given, _, _, rule in KNOWN]
    peer.drop_collection(name)
    assert results == KNOWN


def encoded(kind: str, vector: list[float]):
    """A vector as pymilvus takes it for a field of this kind."""
    if kind == "FLOAT16_VECTOR":
        return np.array(vector, dtype=np.float16)
    if kind == "BFLOAT16_VECTOR":
        return b"".join(struct.pack("<f", value)[2:] for value in vector)
    if kind == "INT8_VECTOR":
        return np.array(vector, dtype=np.int8)
    return bytes(np.packbits(np.array(vector, dtype=np.uint8)))


@pytest.mark.parametrize(
    ("kind", "metric"),
    [(kind, metric) for kind in ("FLOAT16_VECTOR", "BFLOAT16_VECTOR", "INT8_VECTOR") for metric in METRICS] + [("BINARY_VECTOR", "HAMMING")],
)
def test_other_vectors_score_as_floats_do(client, peer, name, kind, metric):
    """Numbers that every kind holds exactly; bits differ in as many places as their squared distance says."""
    drawn = random.Random(kind + metric)
    bits = kind == "BINARY_VECTOR"

    def vector():
        return [float(drawn.randint(0, 1) if bits else drawn.randint(-100, 100)) for _ in range(32)]

    rows = [vector() for _ in range(ROWS)]

    def create(each: MilvusClient, stored: str) -> None:
        schema = each.create_schema()
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("v", DataType[stored], dim=32)
        indexes = each.prepare_index_params()
        index, measure = ("BIN_FLAT" if bits else "FLAT", metric) if each is client else ("FLAT", "L2" if bits else metric)
        indexes.add_index("v", index_type=index, metric_type=measure)
        each.create_collection(name, schema=schema, index_params=indexes, consistency_level="Strong")
        given = [encoded(kind, row) if each is client else row for row in rows]
        each.insert(name, [{"id": key, "v": row} for key, row in enumerate(given)])

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(create, (client, peer), (kind, "FLOAT_VECTOR")))
    for _ in range(max(2, COUNT // 200)):
        query, (offset, limit), least = vector(), drawn.choice(((0, 10), (3, 20), (0, 200))), drawn.choice((0, 80))
        whole = peer.search(name, [query], limit=ALL, filter=f"id >= {least}", output_fields=["id"])[0]
        ranking = [(hit["id"], hit["distance"]) for hit in whole]
        hits = client.search(name, [encoded(kind, query)], anns_field="v", limit=limit, offset=offset, filter=f"id >= {least}")[0]
        is_piece(hits, ranking, offset, limit, f"{kind} {metric}", rising=metric in ("L2", "HAMMING"))
    peer.drop_collection(name)
