"""Every type goes in and comes out the same: extremes, empty values, NULL, defaults, several vectors, own and generated keys."""

import datetime
import json

import numpy as np
import pytest
from pymilvus import AnnSearchRequest, DataType, MilvusException, RRFRanker

V = [0.5, -1.0, 2.0, 0.25]


def back(client, name, key=1, fields=("*",)):
    """The row with this key, as it comes back."""
    return client.get(name, ids=[key], output_fields=list(fields))[0]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("BOOL", [True, False]),
        ("INT8", [-128, 0, 127]),
        ("INT16", [-32768, 0, 32767]),
        ("INT32", [-(2**31), 0, 2**31 - 1]),
        ("INT64", [-(2**63), -1, 0, 2**53 + 1, 2**63 - 1]),
        ("FLOAT", [0.0, -0.5, 1.5, 3.4028234663852886e38, 1.401298464324817e-45]),
        ("DOUBLE", [0.0, -0.1, 1e-300, 1.7976931348623157e308]),
        ("VARCHAR", ["", "plain", 'with "quotes" and \\ and \n', "ünïcödé 鸢 🪁", "x" * 64]),
        ("JSON", [{}, [], 1, 1.5, True, {"a": {"b": [1, 2.5, "c", None, False]}, "ü": "鸢"}, {"big": 2**53 + 1}]),
    ],
)
@pytest.mark.parametrize("flush", [False, True], ids=["growing", "sealed"])
def test_scalar_values(make, client, name, kind, values, flush):
    options = {"max_length": 64} if kind == "VARCHAR" else {}
    make(id="INT64", v=4, x=(kind, options))
    client.insert(name, [{"id": i, "v": V, "x": value} for i, value in enumerate(values)])
    if flush:
        client.flush(name)
    rows = list(client.query(name, filter="id >= 0", output_fields=["x"]))
    assert [row["x"] for row in rows] == values
    assert [type(row["x"]) for row in rows] == [type(value) for value in values]
    hits = client.search(name, [V], limit=len(values), output_fields=["x"])[0]
    assert [hit["entity"]["x"] for hit in hits] == values, "equal distances come in key order"


@pytest.mark.parametrize(("kind", "value"), [("INT8", 128), ("INT8", -129), ("INT16", 32768), ("INT16", -32769)])
def test_integers_are_range_checked(make, client, name, kind, value):
    make(id="INT64", v=4, x=kind)
    with pytest.raises(MilvusException, match=str(value)):
        client.insert(name, [{"id": 1, "v": V, "x": value}])
    assert len(client.query(name, filter="id >= 0")) == 0


@pytest.mark.parametrize(
    ("element", "options", "values"),
    [
        ("BOOL", {}, [[True, False, True], []]),
        ("INT8", {}, [[-128, 127], [0]]),
        ("INT16", {}, [[-32768, 32767], []]),
        ("INT32", {}, [[-(2**31), 2**31 - 1], [5]]),
        ("INT64", {}, [[-(2**63), 2**63 - 1, 2**53 + 1], []]),
        ("FLOAT", {}, [[0.5, -1.25], []]),
        ("DOUBLE", {}, [[0.1, 1e300], [0.0]]),
        ("VARCHAR", {"max_length": 20}, [["", "ü", "b" * 20], []]),
    ],
)
def test_arrays(make, client, name, element, options, values):
    make(id="INT64", v=4, x=("ARRAY", {"element_type": DataType[element], "max_capacity": 4, **options}))
    client.insert(name, [{"id": i, "v": V, "x": value} for i, value in enumerate(values)])
    assert [list(row["x"]) for row in client.query(name, filter="id >= 0", output_fields=["x"])] == values
    client.flush(name)
    assert [list(row["x"]) for row in client.query(name, filter="id >= 0", output_fields=["x"])] == values


NULLABLE = {
    "b": ("BOOL", True), "i8": ("INT8", 1), "i16": ("INT16", 2), "i32": ("INT32", 3), "i64": ("INT64", 4),
    "f": ("FLOAT", 0.5), "d": ("DOUBLE", 0.25), "s": ("VARCHAR", "text"), "j": ("JSON", {"k": 1}), "a": ("ARRAY", [1, 2]),
}  # fmt: skip


def nullable_fields(**more):
    options = {"VARCHAR": {"max_length": 10}, "ARRAY": {"element_type": DataType.INT64, "max_capacity": 5}}
    return {field: (kind, {"nullable": True, **options.get(kind, {}), **more}) for field, (kind, _) in NULLABLE.items()}


def test_null_in_every_scalar_type(make, client, name):
    make(id="INT64", v=4, **nullable_fields())
    full = {field: value for field, (_, value) in NULLABLE.items()}
    client.insert(name, [{"id": 1, "v": V, **full}, {"id": 2, "v": V, **dict.fromkeys(full)}, {"id": 3, "v": V}])
    client.insert(name, [{"id": 4, "v": V, **full}])
    for flush in (False, True):
        if flush:
            client.flush(name)
        rows = list(client.query(name, filter="id >= 0", output_fields=list(full)))
        for row, expected in zip(rows, [full, dict.fromkeys(full), dict.fromkeys(full), full], strict=True):
            got = {field: list(row[field]) if field == "a" and row[field] is not None else row[field] for field in full}
            assert got == expected
    for field in full:
        nulls = client.query(name, filter=f"{field} is null", output_fields=["id"])
        others = client.query(name, filter=f"{field} is not null", output_fields=["id"])
        assert ([r["id"] for r in nulls], [r["id"] for r in others]) == ([2, 3], [1, 4]), field


def test_missing_and_null_values_take_the_default(make, client, name):
    make(
        id="INT64", v=4,
        b=("BOOL", {"default_value": True}), i=("INT32", {"default_value": 42}), d=("DOUBLE", {"default_value": 2.5}),
        s=("VARCHAR", {"max_length": 10, "default_value": "none yet"}),
        n=("INT64", {"nullable": True, "default_value": 7}),
    )  # fmt: skip
    client.insert(name, [{"id": 1, "v": V}, {"id": 2, "v": V, "b": None, "i": None, "d": None, "s": None, "n": None}])
    client.insert(name, [{"id": 3, "v": V, "b": False, "i": 1, "d": 1.0, "s": "set", "n": 1}])
    rows = [tuple(row[f] for f in "bidsn") for row in client.query(name, filter="id > 0", output_fields=[*"bidsn"])]
    assert rows == [(True, 42, 2.5, "none yet", 7), (True, 42, 2.5, "none yet", 7), (False, 1, 1.0, "set", 1)]
    fields = {field["name"]: field for field in client.describe_collection(name)["fields"]}
    assert fields["n"]["nullable"] is True
    assert "42" in str(fields["i"]["default_value"])


def test_null_vectors(make, client, name):
    make(id="INT64", v=(4, {"nullable": True}))
    client.insert(name, [{"id": 1, "v": V}, {"id": 2, "v": None}, {"id": 3, "v": [0.0, 0.0, 0.0, 0.0]}, {"id": 4, "v": None}])
    for flush in (False, True):
        if flush:
            client.flush(name)
        assert [hit["id"] for hit in client.search(name, [V], limit=10)[0]] == [1, 3], "search skips NULL vectors"
        rows = list(client.query(name, filter="id > 0", output_fields=["v"]))
        assert [None if row["v"] is None else list(row["v"]) for row in rows] == [V, None, [0.0] * 4, None]


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2025-01-02T03:04:05Z", "2025-01-02T03:04:05+00:00"),
        ("2025-01-02T03:04:05.123456Z", "2025-01-02T03:04:05.123456+00:00"),
        ("2025-01-02T03:04:05+08:00", "2025-01-01T19:04:05+00:00"),
        ("1969-12-31T23:59:59Z", "1969-12-31T23:59:59+00:00"),
    ],
)
def test_timestamps_with_a_time_zone(make, client, name, text, instant):
    make(id="INT64", v=4, t=("TIMESTAMPTZ", {"nullable": True}))
    client.insert(name, [{"id": 1, "v": V, "t": text}, {"id": 2, "v": V, "t": None}])
    row = back(client, name, fields=["t"])
    assert datetime.datetime.fromisoformat(row["t"]) == datetime.datetime.fromisoformat(instant)
    assert back(client, name, 2, ["t"])["t"] is None


def test_parts_of_timestamps(make, client, name):
    make(id="INT64", v=4, t=("TIMESTAMPTZ", {"nullable": True}))
    client.insert(name, [{"id": 1, "v": V, "t": "2024-12-31T23:30:05.000042Z"}, {"id": 2, "v": V, "t": None}])
    asked = {"output_fields": ["t"], "time_fields": "year, month day,hour,minute,second,microsecond"}
    assert [row["t"] for row in client.query(name, filter="id > 0", **asked)] == [[2024, 12, 31, 23, 30, 5, 42], None]
    rows = client.query(name, filter="id > 0", timezone="Asia/Kathmandu", **asked)
    assert [row["t"] for row in rows] == [[2025, 1, 1, 5, 15, 5, 42], None]
    hits = client.search(name, [V], limit=1, output_fields=["t", "id"], time_fields="second,Year")[0]
    assert hits[0]["entity"] == {"t": [5, 2024], "id": 1}
    request = AnnSearchRequest([V], "v", {"time_fields": "day"}, limit=1)
    hits = client.hybrid_search(name, [request, request], RRFRanker(), limit=1, output_fields=["t"])[0]
    assert hits[0]["entity"] == {"t": [31]}
    with pytest.raises(MilvusException, match="not supported: time_fields together with aggregates"):
        client.query(name, filter="id > 0", output_fields=["max(t)"], time_fields="year")
    with pytest.raises(MilvusException, match="unsupported field for extraction: era; time_fields has year"):
        client.query(name, filter="id > 0", output_fields=["t"], time_fields="era")


def test_timestamps_compare(make, client, name):
    make(id="INT64", v=4, t="TIMESTAMPTZ")
    days = [f"2025-01-{day:02}T12:00:00Z" for day in range(1, 11)]
    client.insert(name, [{"id": i, "v": V, "t": day} for i, day in enumerate(days)])
    found = client.query(name, filter="t >= ISO '2025-01-04T00:00:00Z' and t < ISO '2025-01-06T20:00:00+08:00'", output_fields=["id"])
    assert [row["id"] for row in found] == [3, 4]


def test_timestamps_without_offset_are_in_the_zone_of_the_collection(client, name):
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=4)
    schema.add_field("t", DataType.TIMESTAMPTZ)
    indexes = client.prepare_index_params()
    indexes.add_index("v", index_type="FLAT", metric_type="L2")
    zone = {"timezone": "Asia/Shanghai"}
    client.create_collection(name, schema=schema, index_params=indexes, properties=zone, consistency_level="Strong")
    client.insert(name, [{"id": 1, "v": V, "t": "2025-01-01T00:00:00"}, {"id": 2, "v": V, "t": "2025-01-01T00:00:00Z"}])

    def found(text, **given):
        rows = client.query(name, filter=f"t == ISO '{text}'", output_fields=["id"], **given)
        hits = client.search(name, [V], filter=f"t == ISO '{text}'", limit=5, **given)[0]
        assert [row["id"] for row in rows] == [hit["id"] for hit in hits]
        return [row["id"] for row in rows]

    assert found("2025-01-01T00:00:00") == [1]
    assert found("2025-01-01") == [1]
    assert found("2025-01-01T08:00:00") == [2]
    assert found("2025-01-01T00:00:00Z") == [2]
    assert found("2025-01-01T00:00:00", timezone="UTC") == [2]
    assert client.delete(name, filter="t < ISO '2025-01-01T00:00:01'")["delete_count"] == 1
    assert [row["id"] for row in client.query(name, filter="id > 0", output_fields=["id"])] == [2]


def test_dynamic_fields(make, client, name):
    make(id="INT64", v=4, known="INT64", dynamic=True)
    client.insert(
        name,
        [
            {"id": 1, "v": V, "known": 1, "color": "red", "tags": ["a", "b"], "nested": {"deep": {"er": 5}}},
            {"id": 2, "v": V, "known": 2, "color": 7},
            {"id": 3, "v": V, "known": 3},
        ],
    )
    row = back(client, name)
    assert row == {"id": 1, "v": V, "known": 1, "color": "red", "tags": ["a", "b"], "nested": {"deep": {"er": 5}}}
    assert back(client, name, 2, ["color"]) == {"id": 2, "color": 7}
    assert back(client, name, 3, ["color"]) == {"id": 3}
    assert back(client, name, 2, ['$meta["color"]']) == {"id": 2, "color": 7}
    assert [r["id"] for r in client.query(name, filter='color == "red"')] == [1]
    assert [r["id"] for r in client.query(name, filter='$meta["color"] == 7')] == [2]
    assert [r["id"] for r in client.query(name, filter='nested["deep"]["er"] > 4')] == [1]
    hit = client.search(name, [V], limit=1, filter="color == 7", output_fields=["color", "known"])[0][0]
    assert hit["entity"] == {"color": 7, "known": 2}


def test_several_vector_fields(client, name):
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("small", DataType.FLOAT_VECTOR, dim=2)
    schema.add_field("large", DataType.FLOAT_VECTOR, dim=32)
    schema.add_field("third", DataType.FLOAT_VECTOR, dim=8)
    indexes = client.prepare_index_params()
    indexes.add_index("small", index_type="FLAT", metric_type="L2")
    indexes.add_index("large", index_type="HNSW", metric_type="IP", params={"M": 8, "efConstruction": 64})
    indexes.add_index("third", index_type="IVF_FLAT", metric_type="COSINE", params={"nlist": 4})
    client.create_collection(name, schema=schema, index_params=indexes, consistency_level="Strong")
    random = np.random.default_rng(1)
    small, large, third = (random.standard_normal((200, dim)).astype(np.float32) for dim in (2, 32, 8))
    client.insert(name, [{"id": i, "small": small[i], "large": large[i], "third": third[i]} for i in range(200)])
    client.flush(name)
    assert client.search(name, [small[9]], limit=1, anns_field="small")[0][0]["id"] == 9
    best = int(np.argmax(large @ large[9]))
    assert client.search(name, [large[9]], limit=1, anns_field="large")[0][0]["id"] == best
    hits = client.search(name, [third[9]], limit=1, anns_field="third", search_params={"params": {"nprobe": 4}})
    assert hits[0][0]["id"] == 9
    row = client.get(name, ids=[9])[0]
    assert np.array_equal(np.float32(row["small"]), small[9]) and np.array_equal(np.float32(row["large"]), large[9])
    with pytest.raises(MilvusException, match="anns_field|vector field"):
        client.search(name, [small[9]], limit=1)


def test_string_keys_of_every_shape(make, client, name):
    make(id=("VARCHAR", {"max_length": 100}), v=4)
    keys = ["", "a", "A", "ü", "鸢", "with 'single'", 'with "double"', "back\\slash", "x" * 100]
    client.insert(name, [{"id": key, "v": V} for key in keys])
    assert {row["id"] for row in client.query(name, filter='id >= ""')} == set(keys)
    for key in keys:
        escaped = json.dumps(key, ensure_ascii=False)
        assert [row["id"] for row in client.query(name, filter=f"id == {escaped}")] == [key]
    client.delete(name, ids=["a", "鸢"])
    assert {row["id"] for row in client.query(name, filter='id >= ""')} == set(keys) - {"a", "鸢"}
    assert sorted(keys, key=str.encode)[:2] == [row["id"] for row in client.query(name, filter='id < "a"')][:2]


def test_generated_string_keys(make, client, name):
    make(id=("VARCHAR", {"max_length": 64, "auto_id": True}), v=4)
    ids = list(client.insert(name, [{"v": V}, {"v": V}])["ids"])
    assert len(set(ids)) == 2 and all(isinstance(key, str) and key.isdigit() for key in ids)
    assert {row["id"] for row in client.get(name, ids=ids)} == set(ids)


def test_vectors_come_back_bit_for_bit(make, client, name):
    make(id="INT64", v=32)
    vectors = np.random.default_rng(5).standard_normal((100, 32)).astype(np.float32)
    client.insert(name, [{"id": i, "v": row} for i, row in enumerate(vectors)])
    for flush in (False, True):
        if flush:
            client.flush(name)
        rows = client.query(name, filter="id >= 0", output_fields=["v"])
        assert np.array_equal(np.float32([row["v"] for row in rows]), vectors)


def test_star_returns_everything(make, client, name):
    make(id="INT64", v=4, s=("VARCHAR", {"max_length": 5}), dynamic=True)
    client.insert(name, [{"id": 1, "v": V, "s": "x", "extra": [1]}])
    whole = {"id": 1, "v": V, "s": "x", "extra": [1]}
    assert dict(client.query(name, filter="id == 1")[0]) == whole
    assert dict(client.query(name, filter="id == 1", output_fields=["*"])[0]) == whole
    hit = client.search(name, [V], limit=1, output_fields=["*"])[0][0]
    assert {"id": 1, **hit["entity"]} == whole


def test_the_schema_is_described_as_it_was_given(client, name):
    schema = client.create_schema(enable_dynamic_field=True, description="all of them")
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=36, description="the key")
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=4)
    schema.add_field("tenant", DataType.INT64, is_partition_key=True)
    schema.add_field("kind", DataType.INT16, is_clustering_key=True)
    schema.add_field("a", DataType.ARRAY, element_type=DataType.VARCHAR, max_length=9, max_capacity=8, nullable=True)
    schema.add_field("s", DataType.VARCHAR, max_length=7, default_value="none")
    client.create_collection(name, schema=schema, num_shards=2, consistency_level="Session")
    described = client.describe_collection(name)
    assert described["description"] == "all of them" and described["num_shards"] == 2
    assert described["consistency_level"] == 1 and described["enable_dynamic_field"] is True
    fields = {field["name"]: field for field in described["fields"]}
    assert [field["field_id"] for field in described["fields"]] == [100, 101, 102, 103, 104, 105]
    assert fields["id"]["params"]["max_length"] == 36 and fields["id"]["description"] == "the key"
    assert fields["tenant"]["is_partition_key"] and fields["kind"]["is_clustering_key"]
    assert fields["a"]["element_type"] == DataType.VARCHAR and fields["a"]["nullable"]
    assert {key: int(fields["a"]["params"][key]) for key in ("max_length", "max_capacity")} == {"max_length": 9, "max_capacity": 8}
