"""Filters against a plain Python oracle, over rows that are sealed, growing, deleted and replaced at the same time.

The oracle is one Python expression per filter. Where it raises `TypeError` or `KeyError` (a comparison with `None`, a
missing key) the answer is "unknown", and like in Milvus only rows for which the answer is true are found.
"""

import re

import pytest
from pymilvus import DataType, MilvusException, build_bloom_filter, build_roaring_bitmap

COUNT = 240


class Row(dict):
    __getattr__ = dict.__getitem__


def make_row(i: int) -> Row:
    words = ["alpha", "beta", "gamma", "delta", "al_ha", "100%", "Alpha", ""]
    documents = [
        {"a": i % 5, "b": {"c": [i, i + 1]}, "s": f"s{i % 4}", "flag": i % 2 == 0},
        {"a": float(i) / 2, "list": [1, 2, i % 3]},
        {"a": str(i % 5), "b": None},
        {},
    ]
    return Row(
        id=i, v=[float(i), float(-i), 1.0, float(i % 10)], b=i % 3 == 0, i8=i % 100 - 50, i16=i * 7 - 800, i32=i * 1000,
        i64=(i - 120) * 10**15, f=i / 8, d=i * 0.25 - 10, s=words[i % 8], name=f"name-{i:03}", j=documents[i % 4],
        ints=[i, i % 4, -i][: i % 4], words=[words[i % 8], f"w{i % 6}"],
        maybe=None if i % 4 == 0 else i % 30, perhaps=None if i % 5 == 0 else words[i % 8],
        color=["red", "green", 3][i % 3], **({"extra": {"deep": i % 9}} if i % 2 else {}),
    )  # fmt: skip


@pytest.fixture(scope="module")
def rows(client):
    """The live rows: half sealed, half growing, every 17th deleted, every 23rd replaced."""
    name = "filters"
    client.drop_collection(name)
    schema = client.create_schema(enable_dynamic_field=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=4)
    for field, kind in [("b", "BOOL"), ("i8", "INT8"), ("i16", "INT16"), ("i32", "INT32"), ("i64", "INT64"), ("f", "FLOAT"), ("d", "DOUBLE")]:
        schema.add_field(field, DataType[kind])
    schema.add_field("s", DataType.VARCHAR, max_length=20)
    schema.add_field("name", DataType.VARCHAR, max_length=20)
    schema.add_field("j", DataType.JSON)
    schema.add_field("ints", DataType.ARRAY, element_type=DataType.INT64, max_capacity=4)
    schema.add_field("words", DataType.ARRAY, element_type=DataType.VARCHAR, max_length=20, max_capacity=4)
    schema.add_field("maybe", DataType.INT32, nullable=True)
    schema.add_field("perhaps", DataType.VARCHAR, max_length=20, nullable=True)
    indexes = client.prepare_index_params()
    indexes.add_index("v", index_type="FLAT", metric_type="L2")
    client.create_collection(name, schema=schema, index_params=indexes, consistency_level="Strong")
    live = {i: make_row(i) for i in range(COUNT)}
    client.insert(name, [live[i] for i in range(COUNT // 2)])
    client.flush(name)
    client.insert(name, [live[i] for i in range(COUNT // 2, COUNT)])
    for i in range(0, COUNT, 23):
        live[i] = Row(make_row(i), s="new", maybe=None)
    client.upsert(name, [live[i] for i in range(0, COUNT, 23)])
    client.delete(name, ids=[i for i in range(0, COUNT, 17)])
    for i in range(0, COUNT, 17):
        live.pop(i)
    yield list(live.values())
    client.drop_collection(name)


def like(pattern):
    """Milvus' `like` as a regular expression: `%` is any run, `_` one character, a backslash takes the next as it is."""
    parts = re.findall(r"\\.|.", pattern, re.S)
    table = {"%": ".*", "_": "."}
    return re.compile("".join(table.get(p, re.escape(p[-1])) for p in parts), re.S).fullmatch


COMPARISON = [
    ("id == 5", lambda r: r.id == 5),
    ("5 == id", lambda r: r.id == 5),
    ("id != 5", lambda r: r.id != 5),
    ("i8 < -20", lambda r: r.i8 < -20),
    ("i16 <= 33", lambda r: r.i16 <= 33),
    ("i32 > 100000", lambda r: r.i32 > 100000),
    ("i64 >= 9000000000000000", lambda r: r.i64 >= 9 * 10**15),
    ("i64 > -9223372036854775808", lambda r: True),
    ("f > 3.125", lambda r: r.f > 3.125),
    ("f == 3", lambda r: r.f == 3),
    ("d <= -0.25", lambda r: r.d <= -0.25),
    ("id > 10.5", lambda r: r.id > 10.5),
    ("b == true", lambda r: r.b),
    ("b == False", lambda r: not r.b),
    ("b != TRUE", lambda r: not r.b),
    ('s == "alpha"', lambda r: r.s == "alpha"),
    ("s == 'alpha'", lambda r: r.s == "alpha"),
    ('s != "alpha"', lambda r: r.s != "alpha"),
    ('s == ""', lambda r: r.s == ""),
    ('name > "name-100"', lambda r: r.name > "name-100"),
    ('name <= "name-020"', lambda r: r.name <= "name-020"),
    ("i8 < i16", lambda r: r.i8 < r.i16),
    ("id == i32", lambda r: r.id == r.i32),
    ("s < name", lambda r: r.s.encode() < r.name.encode()),
    ("id == 0x1F", lambda r: r.id == 31),
    ("id == 017", lambda r: r.id == 15),
    ("id == 0b101", lambda r: r.id == 5),
    ("f < 1e1", lambda r: r.f < 10),
    ("f < .5", lambda r: r.f < 0.5),
    ("1 == 1", lambda r: True),
    ("1 > 2", lambda r: False),
]

RANGES = [
    ("10 < id < 20", lambda r: 10 < r.id < 20),
    ("10 <= id <= 20", lambda r: 10 <= r.id <= 20),
    ("20 > id >= 10", lambda r: 20 > r.id >= 10),
    ("1.5 < f <= 2.25", lambda r: 1.5 < r.f <= 2.25),
    ('"name-010" <= name < "name-020"', lambda r: "name-010" <= r.name < "name-020"),
    ("-5 < i8 < 5", lambda r: -5 < r.i8 < 5),
    ("3 < maybe < 10", lambda r: 3 < r.maybe < 10),
    ('1 <= j["a"] < 3', lambda r: not isinstance(r.j["a"], str) and 1 <= r.j["a"] < 3),
]

LISTS = [
    ("id in [1, 2, 3, 500]", lambda r: r.id in (1, 2, 3)),
    ("id in [1, 2, 3,]", lambda r: r.id in (1, 2, 3)),
    ("id not in [1, 2, 3]", lambda r: r.id not in (1, 2, 3)),
    ("id in []", lambda r: False),
    ("id IN [7]", lambda r: r.id == 7),
    ("id NOT IN [7]", lambda r: r.id != 7),
    ("f in [1, 2.5]", lambda r: r.f in (1, 2.5)),
    ('s in ["alpha", "beta"]', lambda r: r.s in ("alpha", "beta")),
    ("s not in ['alpha', 'beta', '']", lambda r: r.s not in ("alpha", "beta", "")),
    ("b in [true]", lambda r: r.b),
    ("maybe in [1, 2, 3]", lambda r: r.maybe in (1, 2, 3)),
    ("maybe not in [1, 2, 3]", lambda r: r.maybe is not None and r.maybe not in (1, 2, 3)),
    ('j["a"] in [1, 2]', lambda r: r.j["a"] in (1, 2)),
    ('color in ["red", 3]', lambda r: r.color in ("red", 3)),
]

LIKE = [
    ('s like "al%"', lambda r: like("al%")(r.s)),
    ('s like "%ta"', lambda r: like("%ta")(r.s)),
    ('s like "%lt%"', lambda r: like("%lt%")(r.s)),
    ('s like "al_ha"', lambda r: like("al_ha")(r.s)),
    (r's like "al\_ha"', lambda r: r.s == "al_ha"),
    (r's like "100\%"', lambda r: r.s == "100%"),
    ('s like "alpha"', lambda r: r.s == "alpha"),
    ('s LIKE "%"', lambda r: True),
    ('s like ""', lambda r: r.s == ""),
    ('name like "name-_5_"', lambda r: like("name-_5_")(r.name)),
    ('name like "n%-1%9"', lambda r: like("n%-1%9")(r.name)),
    ('not (s like "al%")', lambda r: not like("al%")(r.s)),
    ('perhaps like "a%"', lambda r: r.perhaps.__class__ is str and like("a%")(r.perhaps)),
    ('j["s"] like "s1%"', lambda r: like("s1%")(r.j["s"])),
    ('color like "r%"', lambda r: isinstance(r.color, str) and like("r%")(r.color)),
]

LOGIC = [
    ("id > 5 and id < 9", lambda r: 5 < r.id < 9),
    ("id > 5 && id < 9", lambda r: 5 < r.id < 9),
    ("id > 5 AND id < 9", lambda r: 5 < r.id < 9),
    ("id < 5 or id > 230", lambda r: r.id < 5 or r.id > 230),
    ("id < 5 || id > 230", lambda r: r.id < 5 or r.id > 230),
    ("id < 5 OR id > 230", lambda r: r.id < 5 or r.id > 230),
    ("not (id > 5)", lambda r: not r.id > 5),
    ("NOT (id > 5)", lambda r: not r.id > 5),
    ("!(id > 5)", lambda r: not r.id > 5),
    ("id < 10 or id > 200 and b == true", lambda r: r.id < 10 or (r.id > 200 and r.b)),
    ("(id < 10 or id > 200) and b == true", lambda r: (r.id < 10 or r.id > 200) and r.b),
    ('id in [1, 2, 3] or s == "beta" and not (i8 > 0)', lambda r: r.id in (1, 2, 3) or (r.s == "beta" and not r.i8 > 0)),
    ("((((id == 1))))", lambda r: r.id == 1),
    ("\n id == 1\t or\n id == 2 ", lambda r: r.id in (1, 2)),
]

ARITHMETIC = [
    ("id + 1 == 6", lambda r: r.id == 5),
    ("1 + id == 6", lambda r: r.id == 5),
    ("id - 10 > 200", lambda r: r.id > 210),
    ("id * 2 < 20", lambda r: r.id < 10),
    ("2 * id < 20", lambda r: r.id < 10),
    ("id % 7 == 3", lambda r: r.id % 7 == 3),
    ("i8 % 7 == -3", lambda r: int(r.i8 - 7 * int(r.i8 / 7)) == -3),
    ("id / 7 == 3", lambda r: r.id // 7 == 3),
    ("i8 / 7 == -2", lambda r: int(r.i8 / 7) == -2),
    ("f * 2 == 5", lambda r: r.f == 2.5),
    ("d + 0.5 > 20", lambda r: r.d > 19.5),
    ("i8 + 1 != 0", lambda r: r.i8 != -1),
    ("maybe + 1 == 6", lambda r: r.maybe == 5),
    ('j["a"] + 1 == 3', lambda r: not isinstance(r.j["a"], str) and r.j["a"] == 2),
    ("ints[0] + 1 == 6", lambda r: len(r.ints) > 0 and r.ints[0] == 5),
]

NULLS = [
    ("maybe is null", lambda r: r.maybe is None),
    ("maybe is not null", lambda r: r.maybe is not None),
    ("maybe IS NULL", lambda r: r.maybe is None),
    ("perhaps is null and id < 100", lambda r: r.perhaps is None and r.id < 100),
    ("maybe > 10", lambda r: r.maybe > 10),
    ("not (maybe > 10)", lambda r: not r.maybe > 10),
    ("maybe != 3", lambda r: r.maybe is not None and r.maybe != 3),
    ("maybe == 3 or id < 20", lambda r: r.maybe == 3 or r.id < 20),
    ("not (maybe == 3 and id < 20)", lambda r: not r.id < 20 or (r.maybe is not None and r.maybe != 3)),
    ("maybe is null or maybe > 20", lambda r: r.maybe is None or r.maybe > 20),
    ("id is not null", lambda r: True),
]

JSON = [
    ('j["a"] == 1', lambda r: r.j["a"] == 1),
    ('j["a"] == 1.5', lambda r: r.j["a"] == 1.5),
    ('j["a"] > 2', lambda r: r.j["a"] > 2),
    ('j["a"] == "1"', lambda r: r.j["a"] == "1"),
    ("j['a'] == 1", lambda r: r.j["a"] == 1),
    ('j["b"]["c"][0] > 100', lambda r: r.j["b"]["c"][0] > 100),
    ('j["b"]["c"][1] == 5', lambda r: r.j["b"]["c"][1] == 5),
    ('j["list"][2] == 1', lambda r: r.j["list"][2] == 1),
    ('j["flag"] == true', lambda r: r.j["flag"] is True),
    ('j["s"] == "s2"', lambda r: r.j["s"] == "s2"),
    ('j["nothing"] == 1', lambda r: False),
    ('j["a"] == 1 and id < 50', lambda r: r.j["a"] == 1 and r.id < 50),
]

DYNAMIC = [
    ('color == "red"', lambda r: r.color == "red"),
    ("color == 3", lambda r: r.color == 3),
    ('$meta["color"] == "green"', lambda r: r.color == "green"),
    ('extra["deep"] > 6', lambda r: r.extra["deep"] > 6),
    ("nothing_here == 1", lambda r: False),
    ('color == "red" and id < 30', lambda r: r.color == "red" and r.id < 30),
]

ARRAYS = [
    ("ints[0] == 5", lambda r: len(r.ints) > 0 and r.ints[0] == 5),
    ("ints[1] < 2", lambda r: len(r.ints) > 1 and r.ints[1] < 2),
    ("ints[2] <= -100", lambda r: len(r.ints) > 2 and r.ints[2] <= -100),
    ("ints[3] == 1", lambda r: False),
    ('words[0] == "alpha"', lambda r: r.words[0] == "alpha"),
    ('words[1] in ["w1", "w2"]', lambda r: r.words[1] in ("w1", "w2")),
    ('words[0] like "al%"', lambda r: like("al%")(r.words[0])),
]

FUNCTIONS = [
    ('exists j["flag"]', lambda r: r.j.get("flag") is not None),
    ('not exists j["flag"]', lambda r: r.j.get("flag") is None),
    ("exists color", lambda r: True),
    ('exists extra["deep"]', lambda r: "extra" in r),
    ('json_contains(j["list"], 2)', lambda r: 2 in r.j["list"]),
    ('not json_contains(j["list"], 2)', lambda r: 2 not in r.j["list"]),
    ('JSON_CONTAINS_ANY(j["list"], [0, 7])', lambda r: 0 in r.j["list"]),
    ('json_contains_all(j["list"], [1, 2])', lambda r: {1, 2} <= set(r.j["list"])),
    ("array_contains(ints, 3)", lambda r: 3 in r.ints),
    ("array_contains_any(ints, [1, 2])", lambda r: 1 in r.ints or 2 in r.ints),
    ('array_contains_all(words, ["alpha", "w0"])', lambda r: {"alpha", "w0"} <= set(r.words)),
    ("array_length(ints) == 2", lambda r: len(r.ints) == 2),
    ('array_length(j["list"]) == 3', lambda r: len(r.j["list"]) == 3),
    ('starts_with(s, "al")', lambda r: r.s.startswith("al")),
    ("empty(s)", lambda r: r.s == ""),
]

TEMPLATES = [
    ("id == {x}", {"x": 5}, lambda r: r.id == 5),
    ("id in {xs}", {"xs": [1, 2, 3]}, lambda r: r.id in (1, 2, 3)),
    ("s in {words}", {"words": ["alpha", "gamma"]}, lambda r: r.s in ("alpha", "gamma")),
    ("f > {x}", {"x": 20.5}, lambda r: r.f > 20.5),
    ("b == {x}", {"x": True}, lambda r: r.b),
    ("s == {x}", {"x": 'al"pha'}, lambda r: False),
    ("{low} < id <= {high}", {"low": 10, "high": 20}, lambda r: 10 < r.id <= 20),
    ('j["a"] == {x} or color == {y}', {"x": 1, "y": "red"}, lambda r: r.j.get("a") == 1 or r.color == "red"),
    ("s like {x}", {"x": "al%"}, lambda r: like("al%")(r.s)),
]


def matching(rows, oracle):
    def true(row):
        try:
            return bool(oracle(row))
        except (TypeError, KeyError, IndexError):
            return False

    return sorted(row.id for row in rows if true(row))


GROUPS = {
    "comparison": COMPARISON, "range": RANGES, "list": LISTS, "like": LIKE, "logic": LOGIC, "arithmetic": ARITHMETIC,
    "null": NULLS, "json": JSON, "dynamic": DYNAMIC, "array": ARRAYS, "function": FUNCTIONS,
}  # fmt: skip
CASES = [pytest.param(text, oracle, id=f"{group}: {text.strip()}") for group, cases in GROUPS.items() for text, oracle in cases]


def check(client, rows, text, oracle, **options):
    expected = matching(rows, oracle)
    found = [row["id"] for row in client.query("filters", filter=text, output_fields=["id"], **options)]
    assert found == expected, "query"
    count = client.query("filters", filter=text, output_fields=["count(*)"], **options)[0]["count(*)"]
    assert count == len(expected), "count(*)"
    if "filter_params" in options:
        options = {"filter_params": options["filter_params"]}
    origin = [[0.0, 0.0, 0.0, 0.0]]
    hits = [hit["id"] for hit in client.search("filters", origin, limit=7, filter=text, **options)[0]]
    near = sorted(expected, key=lambda i: (sum(x * x for x in make_row(i).v), i))[:7]
    assert hits == near, "search"


@pytest.mark.parametrize(("text", "oracle"), CASES)
def test_filter(client, rows, text, oracle):
    check(client, rows, text, oracle)


REFUSED = [
    ("array_length(id) == 1", "array_length operation are only supported on json or array fields now, got: Int64"),
    ("json_contains(id, 1)", "contains operation are only supported on json or array fields now, got: Int64"),
    ("array_contains_all(ints, 1)", "contains_all operation element must be an array, got Int64"),
    ("array_contains(ints, 1.5)", "cannot cast value to Int64, value: 1.5"),
    ("exists id", "exists operations are only supported on a json key, got: Int64"),
]


@pytest.mark.parametrize(("text", "message"), [pytest.param(*case, id=case[0]) for case in REFUSED])
def test_a_function_of_what_it_does_not_take_is_refused(client, rows, text, message):
    with pytest.raises(MilvusException) as refused:
        client.query("filters", filter=text, output_fields=["id"])
    assert refused.value.code == 1100
    assert message in refused.value.message


@pytest.mark.parametrize(("text", "values", "oracle"), [pytest.param(*case, id=case[0]) for case in TEMPLATES])
def test_template(client, rows, text, values, oracle):
    check(client, rows, text, oracle, filter_params=values)


def test_every_filter_deletes_what_it_finds(client, rows, make, name):
    make(id="INT64", v=2, n=("INT64", {"nullable": True}), dynamic=True)
    client.insert(name, [{"id": i, "v": [0.0, 0.0], "n": None if i % 3 == 0 else i, "tag": f"t{i % 4}"} for i in range(60)])
    left = set(range(60))
    for text, gone in [
        ("n is null and id < 10", lambda i: i % 3 == 0 and i < 10),
        ('tag == "t1"', lambda i: i % 4 == 1),
        ("n > 50", lambda i: i % 3 and i > 50),
        ('id in [2, 3, 4] or tag like "t2"', lambda i: i in (2, 3, 4) or i % 4 == 2),
    ]:
        client.delete(name, filter=text)
        left -= {i for i in left if gone(i)}
        assert [row["id"] for row in client.query(name, filter="id >= 0", output_fields=["id"])] == sorted(left), text


def test_a_very_long_list(client, rows):
    numbers = list(range(0, 20000, 2))
    expected = [row.id for row in rows if row.id % 2 == 0]
    found = client.query("filters", filter=f"id in {numbers}", output_fields=["id"])
    assert [row["id"] for row in found] == sorted(expected)


def test_deep_nesting_is_answered(client, rows):
    """Right or refused, but never a dropped connection."""
    text = "(" * 2000 + "id == 1" + ")" * 2000
    try:
        assert [row["id"] for row in client.query("filters", filter=text, output_fields=["id"])] == [1]
    except MilvusException as error:
        assert error.code in (1100, 65535)
    assert client.query("filters", filter="id == 1", output_fields=["id"])[0]["id"] == 1


def test_rows_of_a_set_that_the_client_made(client):
    """membership_match: Bloom filters and bitmaps as pymilvus builds them."""
    schema = client.create_schema(enable_dynamic_field=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("small", DataType.INT16, nullable=True)
    schema.add_field("name", DataType.VARCHAR, max_length=20)
    schema.add_field("real", DataType.DOUBLE)
    schema.add_field("meta", DataType.JSON)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    indexes = client.prepare_index_params()
    indexes.add_index("v", index_type="FLAT", metric_type="L2")
    client.create_collection("members", schema=schema, index_params=indexes, consistency_level="Strong")

    def value(i):
        """An integer, a string, a float, NULL or nothing."""
        return [{"a": i}, {"a": f"n{i}"}, {"a": float(i)}, {"a": None}, {}][i % 5]

    rows = [
        {"id": i, "small": i - 500 if i % 10 else None, "name": f"n{i}", "real": 0.5, "meta": value(i), "extra": i, "v": [i, 0.0]}
        for i in range(1_000)
    ]
    client.insert("members", rows)
    client.flush("members")
    client.insert("members", [{**row, "id": row["id"] + 1_000} for row in rows[:100]])

    def ids(filter, **sets):
        return {row["id"] for row in client.query("members", filter, filter_params=sets, limit=16_384)}

    everyone = {row["id"] for row in rows} | set(range(1_000, 1_100))
    wanted = [-500 + i for i in range(0, 1_000, 7)]
    exact = build_roaring_bitmap(wanted)
    of_small = {i for i in everyone if i % 10 and (i % 1_000) - 500 in wanted}
    assert ids("membership_match(small, {s}, type=roaring)", s=exact) == of_small
    assert ids("membership_match(small, {s})", s=exact) == of_small
    assert ids("not membership_match(small, {s})", s=exact) == {i for i in everyone if i % 10} - of_small
    assert ids("membership_match(id, {s}) and id < 3", s=build_roaring_bitmap([0, 2, 5])) == {0, 2}
    assert ids("membership_match(id, {s})", s=build_roaring_bitmap([])) == set()

    # A Bloom filter finds every member, and little else.
    names = [f"n{i}" for i in range(0, 1_000, 3)]
    found = ids("membership_match(name, {s}, type=bloom)", s=build_bloom_filter(names, fpr=0.001))
    members = {i for i in everyone if i % 1_000 % 3 == 0}
    assert members <= found and len(found - members) < 10
    found = ids("membership_match(small, {s})", s=build_bloom_filter(wanted, fpr=0.001))
    assert of_small <= found and len(found - of_small) < 10
    found = ids('membership_match(meta["a"], {s})', s=build_bloom_filter(list(range(1_000)), fpr=0.001))
    assert found == {i for i in everyone if i % 5 == 0}  # integers alone: no strings, no floats
    found = ids('membership_match(meta["a"], {s})', s=build_bloom_filter([f"n{i}" for i in range(1_000)], fpr=0.001))
    assert found == {i for i in everyone if i % 5 == 1}
    assert ids("membership_match(extra, {s})", s=build_bloom_filter([7])) >= {7, 1_007}

    # Searches take them too, and the second one is not answered from the first.
    for keys in ([3, 4], [900, 901, 902]):
        hits = client.search(
            "members", [[0.0, 0.0]], limit=10, filter="membership_match(id, {s})", filter_params={"s": build_roaring_bitmap(keys)}
        )
        assert [hit["id"] for hit in hits[0]] == keys

    for filter, sets, said in [
        ("membership_match(id, {s})", {"s": b"nonsense"}, "a header of 32 bytes, got 8"),
        ("membership_match(id, {s})", {"s": exact[:-1]}, "and has"),
        ("membership_match(id, {s}, type=bloom)", {"s": exact}, "is of type roaring"),
        ("membership_match(name, {s})", {"s": exact}, "made of integers, the field is VarChar"),
        ("membership_match(id, {s})", {"s": build_bloom_filter(["a"])}, "made of strings, the field is Int64"),
        ("membership_match(real, {s})", {"s": build_bloom_filter([1])}, "got Double"),
        ("membership_match(id, {s})", {"s": [1, 2]}, "must be bytes"),
        ("id == {s}", {"s": exact}, "only membership_match takes"),
    ]:
        with pytest.raises(MilvusException, match=re.escape(said)):
            client.query("members", filter, filter_params=sets)

    with pytest.raises(MilvusException, match="use one of type roaring"):
        client.delete("members", filter="membership_match(id, {s})", filter_params={"s": build_bloom_filter([1])})
    client.delete("members", filter="membership_match(id, {s})", filter_params={"s": build_roaring_bitmap([1, 2, 3])})
    assert everyone - ids("id >= 0") == {1, 2, 3}
