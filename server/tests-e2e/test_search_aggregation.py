"""Search aggregation: buckets of what a search found, compared with buckets made by hand."""

import random

import pytest
from pymilvus import DataType, MilvusException, SearchAggregation, TopHits

ROWS = 400


@pytest.fixture
def items(client, name):
    choose = random.Random(11)
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=4)
    schema.add_field("brand", DataType.VARCHAR, max_length=20, nullable=True)
    schema.add_field("color", DataType.INT8)
    schema.add_field("new", DataType.BOOL)
    schema.add_field("price", DataType.DOUBLE, nullable=True)
    schema.add_field("stock", DataType.INT64)
    schema.add_field("tags", DataType.ARRAY, element_type=DataType.INT64, max_capacity=3)
    indexes = client.prepare_index_params()
    indexes.add_index("v", index_type="FLAT", metric_type="L2")
    client.create_collection(name, schema=schema, index_params=indexes, consistency_level="Strong")
    rows = [
        {
            "id": i,
            "v": [choose.random() for _ in range(4)],
            "brand": choose.choice(["ant", "bee", "cat", "dog", None]),
            "color": choose.randrange(4),
            "new": choose.random() < 0.3,
            "price": None if choose.random() < 0.2 else round(choose.uniform(1, 50), 2),
            "stock": choose.randrange(1 << 40),
            "tags": [],
        }
        for i in range(ROWS)
    ]
    client.insert(name, rows)
    return rows


def shown(buckets):
    return [
        {
            "key": [part["value"] for part in bucket.key],
            "count": bucket.count,
            "metrics": bucket.metrics,
            "hits": [(hit.pk, hit.fields) for hit in bucket.hits],
            "sub": shown(bucket.sub_groups),
        }
        for bucket in buckets
    ]


def nearest(rows, query):
    distance = {row["id"]: sum((a - b) ** 2 for a, b in zip(row["v"], query)) for row in rows}
    return sorted(rows, key=lambda row: distance[row["id"]]), distance


def kept(rows, query, fields, groups, size):
    """The rows of the nearest groups, best first."""
    found, known = [], {}
    for row in nearest(rows, query)[0]:
        key = tuple(row[field] for field in fields)
        if key in known or len(known) < groups:
            known[key] = known.get(key, 0) + 1
            if known[key] <= size:
                found.append(row)
    return found


def split(rows, fields):
    buckets = {}
    for row in rows:
        buckets.setdefault(tuple(row[field] for field in fields), []).append(row)
    return buckets


def test_buckets_are_those_of_the_kept_rows(client, name, items):
    queries = [[0.1, 0.9, 0.4, 0.5], [0.5] * 4]
    aggregation = SearchAggregation(
        fields=["brand"],
        size=3,
        metrics={"n": {"count": "*"}, "priced": {"count": "price"}, "mean": {"avg": "price"}, "stock": {"sum": "stock"}},
        order=[{"n": "desc"}, {"_key": "asc"}],
        sub_aggregation=SearchAggregation(
            fields=["color", "new"],
            size=2,
            metrics={"low": {"min": "price"}, "last": {"max": "brand"}, "near": {"min": "_score"}},
            order=[{"near": "asc"}],
            top_hits=TopHits(size=3, sort=[{"new": "desc"}, {"price": "asc"}, {"_score": "asc"}]),
        ),
    )
    result = client.search(name, queries, anns_field="v", search_aggregation=aggregation, output_fields=["brand", "price"])
    assert [len(hits) for hits in result] == [0, 0] and len(result.agg_buckets) == 2
    for query, buckets in zip(queries, result.agg_buckets):
        _, distance = nearest(items, query)
        rows = kept(items, query, ["brand", "color", "new"], 6, 3)
        expected = []
        top = split(rows, ["brand"])
        # NULL comes last in an ascending order.
        for key in sorted(top, key=lambda key: (-len(top[key]), key[0] is None, key[0] or ""))[:3]:
            inside = top[key]
            prices = [row["price"] for row in inside if row["price"] is not None]
            below = split(inside, ["color", "new"])
            sub = []
            for part in sorted(below, key=lambda part: min(distance[row["id"]] for row in below[part]))[:2]:
                own = below[part]
                lows = [row["price"] for row in own if row["price"] is not None]
                own_sorted = sorted(own, key=lambda row: (row["price"] is None, row["price"] or 0, distance[row["id"]]))
                sub.append(
                    {
                        "key": list(part),
                        "count": len(own),
                        "metrics": {
                            "low": min(lows, default=None),
                            "last": key[0],
                            "near": pytest.approx(min(distance[row["id"]] for row in own), rel=1e-5),
                        },
                        "hits": [
                            (row["id"], {f: row[f] for f in ("brand", "price") if row[f] is not None}) for row in own_sorted[:3]
                        ],
                        "sub": [],
                    }
                )
            expected.append(
                {
                    "key": list(key),
                    "count": len(inside),
                    "metrics": {
                        "n": len(inside),
                        "priced": len(prices),
                        "mean": pytest.approx(sum(prices) / len(prices)) if prices else None,
                        "stock": sum(row["stock"] for row in inside),
                    },
                    "hits": [],
                    "sub": sub,
                }
            )
        assert shown(buckets) == expected


def test_without_an_order_buckets_come_as_they_are_found(client, name, items):
    query = [0.3, 0.3, 0.9, 0.1]
    found = client.search(
        name, [query], anns_field="v", filter="brand is not null", search_aggregation=SearchAggregation(["brand"], size=4)
    )
    named = [row for row in items if row["brand"] is not None]
    expected = [row["brand"] for row in kept(named, query, ["brand"], 4, 1)]
    buckets = found.agg_buckets[0]
    assert [bucket.key[0]["value"] for bucket in buckets] == expected
    assert all(bucket.count == 1 and not bucket.hits and not bucket.sub_groups for bucket in buckets)


def test_scores_are_rounded_when_they_are_written_and_not_before(client, make, name):
    make(id="INT64", v=2, x="INT64", y="INT64", metric="IP")
    rows = [(1, 0.9, 1), (2, 0.6, 1), (3, 0.8, 2), (5, 0.7, 3), (4, 0.7, 4)]
    client.insert(name, [{"id": i, "v": [score, 0.0], "x": 1, "y": y} for i, score, y in rows])
    within = SearchAggregation(["y"], size=4, metrics={"best": {"max": "_score"}})
    aggregation = SearchAggregation(["x"], size=1, top_hits=TopHits(5), sub_aggregation=within)
    found = client.search(
        name, [[1.0, 0.0]], anns_field="v", search_aggregation=aggregation, search_params={"params": {}}, round_decimal=0
    )
    [bucket] = found.agg_buckets[0]
    hits = [(hit.pk, hit.score) for hit in bucket.hits]
    assert hits == [(pk, 1.0) for pk, _ in hits]
    scores = {i: score for i, score, _ in rows}
    assert [pk for pk, _ in hits] == sorted((pk for pk, _ in hits), key=lambda pk: (-scores[pk], pk))
    assert [part.metrics["best"] for part in bucket.sub_groups] == pytest.approx([0.9, 0.8, 0.7, 0.7])


@pytest.mark.parametrize(
    "aggregation, given, error",
    [
        (SearchAggregation(["nothing"], size=1), {}, "search_aggregation: field nothing not found"),
        (SearchAggregation(["price"], size=1), {}, "buckets by price, which is Double"),
        (SearchAggregation(["brand"], size=1, metrics={"x": {"sum": "brand"}}), {}, "metric x: sum of brand, which is VarChar"),
        (SearchAggregation(["brand"], size=1, top_hits=TopHits(2, [{"tags": "asc"}])), {}, "sorted by tags, which is Array"),
        (SearchAggregation(["brand"], size=101, top_hits=TopHits(100)), {}, "= 10100 entries, at most 10000"),
        (
            SearchAggregation(["brand"], size=1, sub_aggregation=SearchAggregation(["brand"], size=1)),
            {},
            "field brand twice",
        ),
        (SearchAggregation(["brand"], size=1), {"offset": 1}, "search_aggregation together with an offset"),
        (SearchAggregation(["brand"], size=1), {"output_fields": ["v"]}, "v among the output fields of a search aggregation"),
    ],
)
def test_what_cannot_be_asked_is_named(client, name, items, aggregation, given, error):
    with pytest.raises(MilvusException, match=error):
        client.search(name, [[0.5] * 4], anns_field="v", search_aggregation=aggregation, **given)
