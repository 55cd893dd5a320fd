"""Groups and orders by paths into JSON and keys of the dynamic field, against exact answers computed here."""

import numpy as np
import pytest
from pymilvus import AnnSearchRequest, DataType, MilvusException, RRFRanker

COUNT = 300
MAKERS = ["abc", "7", 7, True, None, "", "é"]


def maker(row):
    return MAKERS[row % len(MAKERS)]


@pytest.fixture
def vectors():
    return np.random.default_rng(11).standard_normal((COUNT, 4)).astype(np.float32)


@pytest.fixture
def filled(make, client, name, vectors):
    """Half of the rows in a segment. `meta` has a maker of any type, or none; `rank` and `shelf` are dynamic keys."""
    make(id="INT64", v=4, meta="JSON", dynamic=True)
    rows = []
    for i in range(COUNT):
        meta = {"price": [i % 13, i / 4][i % 2], "deep": {"a,b:c": f"x{i % 5}"}}
        if maker(i) is not None or i % 2:
            meta["maker"] = maker(i)
        row = {"id": i, "v": vectors[i], "meta": meta, "shelf": f"s{i % 9}"}
        if i % 4:
            row["rank"] = [i % 6, str(i % 6), i % 6 + 0.5][i % 3]
        rows.append(row)
    client.insert(name, rows[: COUNT // 2])
    client.flush(name)
    client.insert(name, rows[COUNT // 2 :])
    return rows


def nearest(vectors, query):
    return np.argsort(((vectors - query) ** 2).sum(1), kind="stable").tolist()


def groups_of(order, group_of, limit, size=1):
    groups = {}
    for row in order:
        groups.setdefault(group_of(row), []).append(row)
    return [row for rows in list(groups.values())[:limit] for row in rows[:size]]


def text(value):
    """A value of JSON as the text that tells groups apart."""
    if value is None or isinstance(value, str):
        return value
    return str(value).lower()


def ids(hits):
    return [hit["id"] for hit in hits]


@pytest.mark.parametrize(
    ("path", "group_of"),
    [
        ('meta["maker"]', lambda row: text(row["meta"].get("maker"))),
        ("meta['deep']['a,b:c']", lambda row: row["meta"]["deep"]["a,b:c"]),
        ("shelf", lambda row: row["shelf"]),
        ('$meta["shelf"]', lambda row: row["shelf"]),
        ("rank", lambda row: text(row.get("rank"))),
        ("nowhere", lambda row: None),
    ],
)
def test_groups_by_a_path(client, name, filled, vectors, path, group_of):
    query = vectors[17] + 0.1
    order = nearest(vectors, query)
    for limit, size in ((3, 1), (4, 3), (100, 2)):
        expected = groups_of(order, lambda row: group_of(filled[row]), limit, size)
        for fields in ({"group_by_field": path}, {"group_by_fields": [path]}):
            hits = client.search(name, [query], limit=limit, group_size=size, strict_group_size=True, **fields)[0]
            assert ids(hits) == expected


def test_groups_by_a_path_as_a_type(client, name, filled, vectors):
    query = vectors[3]
    order = nearest(vectors, query)

    def search(**given):
        return ids(client.search(name, [query], limit=50, group_by_field='meta["maker"]', **given)[0])

    def strict(kind):
        return lambda row: maker(row) if type(maker(row)) is kind else None

    assert search(json_type=DataType.VARCHAR, strict_cast=True) == groups_of(order, strict(str), 50)
    assert search(json_type=DataType.INT64, strict_cast=True) == groups_of(order, strict(int), 50)
    assert search(json_type=DataType.BOOL, strict_cast=True) == groups_of(order, strict(bool), 50)
    sevens = groups_of(order, lambda row: 7 if maker(row) in ("7", 7) else None, 50)
    assert search(json_type=DataType.INT8) == sevens


def test_groups_by_a_path_beside_a_field_and_in_a_hybrid_search(client, name, filled, vectors):
    query = vectors[40]
    order = nearest(vectors, query)
    hits = client.search(name, [query], limit=30, group_by_fields=["shelf", 'meta["maker"]'])[0]
    expected = groups_of(order, lambda row: (filled[row]["shelf"], text(filled[row]["meta"].get("maker"))), 30)
    assert ids(hits) == expected
    arms = [AnnSearchRequest(data=[query], anns_field="v", param={}, limit=20) for _ in range(2)]
    hits = client.hybrid_search(name, arms, RRFRanker(), limit=5, group_by_field="shelf", group_size=1)[0]
    assert len({filled[row]["shelf"] for row in ids(hits)}) == len(hits) == 5


def order_key(value, descending):
    """Numbers before texts before truth values; what is not there comes last, or first when descending."""
    if isinstance(value, bool):
        return (2, value)
    if isinstance(value, (int, float)):
        return (0, value)
    return (1, value) if isinstance(value, str) else (-9 if descending else 9, 0)


@pytest.mark.parametrize(
    ("path", "value_of"),
    [
        ('meta["price"]', lambda row: row["meta"]["price"]),
        ("meta['maker']", lambda row: row["meta"].get("maker")),
        ("rank", lambda row: row.get("rank")),
        ('meta["deep"]["a,b:c"]', lambda row: row["meta"]["deep"]["a,b:c"]),
    ],
)
def test_orders_by_a_path(client, name, filled, vectors, path, value_of):
    query = vectors[5]
    found = nearest(vectors, query)[:60]
    ascending = sorted(found, key=lambda row: order_key(value_of(filled[row]), False))
    hits = client.search(name, [query], limit=60, order_by_fields=[{"field": path, "order": "asc"}])[0]
    assert ids(hits) == ascending
    missing = [row for row in found if value_of(filled[row]) is None]
    there = [row for row in found if value_of(filled[row]) is not None]
    there.sort(key=lambda row: order_key(value_of(filled[row]), True), reverse=True)
    hits = client.search(name, [query], limit=60, order_by_fields=[{"field": path, "order": "desc"}])[0]
    assert [value_of(filled[row]) for row in ids(hits)] == [value_of(filled[row]) for row in missing + there]
    rows = client.query(name, filter="id < 50", limit=50, order_by=[path, "id:desc"], output_fields=["id"])
    expected = sorted(reversed(range(50)), key=lambda row: order_key(value_of(filled[row]), False))
    assert ids(rows) == expected


def test_what_no_path_can_be(make, client, name, filled, vectors):
    def refused(**given):
        with pytest.raises(MilvusException) as caught:
            client.search(name, [vectors[0]], limit=1, **given)
        return caught.value.message

    assert "group by field 'id[\"a\"]' not found" in refused(group_by_field='id["a"]')
    assert "order by field 'meta[' not found" in refused(order_by_fields="meta[")
    assert "unsupported data type for group by" in refused(group_by_field="meta")


def test_a_cast_function_finds_numbers_in_texts(client, filled, name):
    """`STRING_TO_DOUBLE`, on a key of a JSON field and on a dynamic key, while the index is built and after that."""

    def found(text):
        return sorted(row["id"] for row in client.query(name, filter=text, output_fields=["id"], limit=COUNT))

    def add(field, path, **params):
        indexes = client.prepare_index_params()
        place = {"json_path": path, "json_cast_type": "DOUBLE", **params}
        indexes.add_index(field, index_name=f"{field}_cast", index_type="INVERTED", params=place)
        client.create_index(name, indexes)

    def number(row, cast):
        value = row["meta"].get("maker")
        if isinstance(value, bool) or not isinstance(value, int | str):
            return None
        return float(value) if isinstance(value, int) or (cast and value == "7") else None

    def sevens(cast):
        return [row["id"] for row in filled if number(row, cast) == 7]

    assert found('meta["maker"] == 7') == sevens(cast=False)
    add("meta", 'meta["maker"]', json_cast_function="STRING_TO_DOUBLE")
    assert len(sevens(cast=True)) > len(sevens(cast=False))
    for _ in range(2):
        assert found('meta["maker"] == 7') == sevens(cast=True)
        assert found('meta["maker"] in [7, 8]') == sevens(cast=True)
        assert found('meta["maker"] > 6.5') == sevens(cast=True)
        assert found('meta["maker"] == "7"') == [row["id"] for row in filled if row["meta"].get("maker") == "7"]
        client.flush(name)
    assert found("rank >= 3") == [row["id"] for row in filled if not isinstance(row.get("rank", ""), str) and row["rank"] >= 3]
    add("rank", "rank", json_cast_function="STRING_TO_DOUBLE")
    assert found("rank >= 3") == [row["id"] for row in filled if "rank" in row and float(row["rank"]) >= 3]
    for given, message in [
        ({"json_cast_function": "STRING_TO_INT"}, "json_cast_function STRING_TO_INT is not supported; allowed is STRING_TO_DOUBLE"),
        ({"json_cast_function": "STRING_TO_DOUBLE", "json_cast_type": "VARCHAR"}, "is for json_cast_type DOUBLE, got VARCHAR"),
    ]:
        with pytest.raises(MilvusException, match=message) as caught:
            add("meta", 'meta["price"]', **given)
        assert caught.value.code == 1100
    client.drop_index(name, "meta_cast")
    assert found('meta["maker"] == 7') == sevens(cast=False)
