"""Arrays of structs with pymilvus: in and out, filters against plain Python, schema changes, and what is refused."""

import random
import re

import pytest
from pymilvus import DataType, MilvusClient, MilvusException

COUNT = 200
WORDS = ["ant", "bee", "cat", "dog"]


def struct_schema(client: MilvusClient):
    struct = client.create_struct_field_schema()
    struct.add_field("text", DataType.VARCHAR, max_length=20)
    struct.add_field("n", DataType.INT16)
    struct.add_field("score", DataType.DOUBLE)
    struct.add_field("good", DataType.BOOL)
    return struct


def create(client: MilvusClient, name: str, nullable: bool = True, dynamic: bool = False) -> None:
    schema = client.create_schema(enable_dynamic_field=dynamic)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    schema.add_field(
        "chunks",
        DataType.ARRAY,
        element_type=DataType.STRUCT,
        struct_schema=struct_schema(client),
        max_capacity=4,
        nullable=nullable,
    )
    indexes = client.prepare_index_params()
    indexes.add_index("v", index_type="FLAT", metric_type="L2")
    client.create_collection(name, schema=schema, index_params=indexes, consistency_level="Strong")


def chunk(draw: random.Random) -> dict:
    return {
        "text": draw.choice(WORDS),
        "n": draw.randrange(-3, 4),
        "score": draw.randrange(8) / 4,
        "good": draw.random() < 0.5,
    }


def rows(count: int = COUNT) -> list[dict]:
    draw = random.Random(7)
    made = []
    for key in range(count):
        chunks = None if draw.random() < 0.1 else [chunk(draw) for _ in range(draw.randrange(5))]
        made.append({"id": key, "v": [float(key), 1.0], "chunks": chunks})
    return made


def found(client: MilvusClient, name: str, text: str) -> list[int]:
    return sorted(row["id"] for row in client.query(name, filter=text, output_fields=["id"], limit=COUNT))


def test_structs_come_back_as_they_were_sent(client, name):
    create(client, name)
    sent = rows()
    client.insert(name, sent[: COUNT // 2])
    client.flush(name)
    client.insert(name, sent[COUNT // 2 :])
    read = client.query(name, filter="id >= 0", output_fields=["chunks"], limit=COUNT)
    assert [row["chunks"] for row in read] == [row["chunks"] for row in sent]
    whole = client.query(name, filter="id < 20", output_fields=["*"], limit=20)
    assert [row["chunks"] for row in whole] == [row["chunks"] for row in sent[:20]]
    hits = client.search(name, [[0.0, 1.0]], limit=30, output_fields=["chunks"])[0]
    assert [hit["entity"]["chunks"] for hit in hits] == [row["chunks"] for row in sent[:30]]
    parts = client.query(name, filter="id < 20", output_fields=["chunks[text]", "chunks[n]"], limit=20)
    expected = [
        row["chunks"] and [{key: chunk[key] for key in ("text", "n")} for chunk in row["chunks"]] for row in sent[:20]
    ]
    assert [row["chunks"] for row in parts] == expected
    assert client.query(name, output_fields=["count(*)"])[0]["count(*)"] == COUNT

    changed = [{"id": 3, "v": [3.0, 1.0], "chunks": None}, {"id": 150, "v": [150.0, 1.0], "chunks": [chunk(random.Random(1))]}]
    client.upsert(name, changed)
    for row in changed:
        assert client.get(name, [row["id"]], output_fields=["chunks"])[0]["chunks"] == row["chunks"]
    left = client.delete(name, filter="match_any(chunks, $[text] == 'ant')")
    assert left["delete_count"] > 0
    assert found(client, name, "match_any(chunks, $[text] == 'ant')") == []


def test_structs_survive_a_crash(own_server, name):
    client = MilvusClient(own_server.uri)
    create(client, name)
    sent = rows(40)
    client.insert(name, sent[:20])
    client.flush(name)
    client.insert(name, sent[20:])
    client.close()
    own_server.restart(crash=True)
    client = MilvusClient(own_server.uri)
    client.load_collection(name)
    read = client.query(name, filter="id >= 0", output_fields=["chunks"], limit=40)
    assert [row["chunks"] for row in read] == [row["chunks"] for row in sent]


def test_the_schema_is_described(client, name):
    create(client, name, dynamic=True)
    described = client.describe_collection(name)
    assert [field["name"] for field in described["fields"]] == ["id", "v", "chunks"]
    struct = described["fields"][2]
    assert (struct["type"], struct["element_type"], struct["nullable"]) == (DataType.ARRAY, DataType.STRUCT, True)
    assert int(struct["params"]["max_capacity"]) == 4
    subs = struct["struct_fields"]
    # $meta has 102
    assert (struct["field_id"], [sub["field_id"] for sub in subs]) == (103, [104, 105, 106, 107])
    assert [sub["name"] for sub in subs] == ["text", "n", "score", "good"]
    assert [sub["type"] for sub in subs] == [DataType.VARCHAR, DataType.INT16, DataType.DOUBLE, DataType.BOOL]
    assert int(subs[0]["params"]["max_length"]) == 20
    for field in ("chunks", "chunks[text]"):
        indexes = client.prepare_index_params()
        indexes.add_index(field, index_type="INVERTED")
        with pytest.raises(MilvusException, match="not supported"):
            client.create_index(name, indexes)


CONDITIONS = [
    ("$[text] == 'bee'", lambda c: c["text"] == "bee"),
    ("$[n] > 0 && $[good] == true", lambda c: c["n"] > 0 and c["good"]),
    ("$[text] in ['ant', 'dog'] or $[score] < 0.5", lambda c: c["text"] in ("ant", "dog") or c["score"] < 0.5),
    ("-2 < $[n] <= 1", lambda c: -2 < c["n"] <= 1),
    ("not ($[text] like 'c%')", lambda c: not c["text"].startswith("c")),
]


@pytest.mark.parametrize("nullable", [True, False])
def test_elements_are_counted_as_plain_python_counts_them(client, name, nullable):
    create(client, name, nullable=nullable)
    sent = [row for row in rows() if nullable or row["chunks"] is not None]
    client.insert(name, sent[::2])
    client.flush(name)
    client.insert(name, sent[1::2])

    def expect(text, holds):
        # of NULL nothing is known, neither the condition nor its opposite
        known = [row for row in sent if row["chunks"] is not None]
        yes = sorted(row["id"] for row in known if holds(row["chunks"]))
        assert found(client, name, text) == yes, text
        if not text.startswith("element_filter"):
            no = sorted(row["id"] for row in known if row["id"] not in yes)
            assert found(client, name, f"not ({text})") == no, text

    for condition, holds in CONDITIONS:
        count = lambda chunks, holds=holds: sum(map(holds, chunks))
        expect(f"match_any(chunks, {condition})", lambda chunks: count(chunks) > 0)
        expect(f"match_all(chunks, {condition})", lambda chunks: count(chunks) == len(chunks))
        expect(f"MATCH_LEAST(chunks, {condition}, threshold=2)", lambda chunks: count(chunks) >= 2)
        expect(f"match_most(chunks, {condition}, threshold=1)", lambda chunks: count(chunks) <= 1)
        expect(f"match_exact(chunks, {condition}, threshold=0)", lambda chunks: count(chunks) == 0)
        expect(f"element_filter(chunks, {condition})", lambda chunks: count(chunks) > 0)
    expect("array_length(chunks) >= 3", lambda chunks: len(chunks) >= 3)
    expect("array_contains(chunks[text], 'cat')", lambda chunks: any(c["text"] == "cat" for c in chunks))
    first = sorted(row["id"] for row in sent if row["chunks"] and row["chunks"][0]["n"] == 2)
    assert found(client, name, "chunks[0][n] == 2") == first
    assert found(client, name, "chunks is null") == sorted(row["id"] for row in sent if row["chunks"] is None)
    both = sorted(row["id"] for row in sent if row["id"] < 100 and any(c["n"] == 3 for c in row["chunks"] or []))
    assert found(client, name, "id < 100 and element_filter(chunks, $[n] == 3)") == both
    templated = client.query(
        name,
        filter="match_any(chunks, $[n] == {n}) and id < {high}",
        filter_params={"n": 3, "high": 100},
        output_fields=["id"],
        limit=COUNT,
    )
    assert sorted(row["id"] for row in templated) == both
    hits = client.search(name, [[0.0, 1.0]], limit=5, filter="match_any(chunks, $[n] == 3)", output_fields=["chunks"])[0]
    nearest = sorted(row["id"] for row in sent if any(c["n"] == 3 for c in row["chunks"] or []))[:5]
    assert [hit["id"] for hit in hits] == nearest


def test_a_struct_field_is_added_and_dropped(client, name):
    create(client, name)
    client.insert(name, rows(10))
    struct = client.create_struct_field_schema()
    struct.add_field("a", DataType.INT64)
    client.add_collection_struct_field(name, "more", struct_schema=struct, max_capacity=2)
    client.insert(name, [{"id": 10, "v": [10.0, 1.0], "chunks": None, "more": [{"a": 1}, {"a": 2}]}])
    read = client.query(name, filter="id >= 8", output_fields=["more"], limit=20)
    assert [row["more"] for row in read] == [None, None, [{"a": 1}, {"a": 2}]]
    assert found(client, name, "match_all(more, $[a] > 0)") == [10]
    more = client.describe_collection(name)["fields"][3]
    assert (more["name"], more["field_id"], more["struct_fields"][0]["field_id"]) == ("more", 107, 108)
    client.drop_collection_field(name, "chunks")
    assert [field["name"] for field in client.describe_collection(name)["fields"]] == ["id", "v", "more"]


def test_what_is_not_allowed_is_refused_with_its_reason(client, name):
    create(client, name, nullable=False)

    def refused(call, code, pattern):
        with pytest.raises(MilvusException) as error:
            call()
        assert error.value.code == code and re.search(pattern, error.value.message), error.value

    def insert(chunks):
        return lambda: client.insert(name, [{"id": 1, "v": [1.0, 1.0], "chunks": chunks}])

    fits = {"text": "a", "n": 1, "score": 0.5, "good": True}
    refused(insert([fits] * 5), 1100, r"length \(5\) of 0th array exceeds max capacity \(4\)")
    refused(insert([fits | {"text": "x" * 21}]), 1100, r"varchar field chunks\[text\] exceeds max length")
    refused(insert([fits | {"n": 40_000}]), 1100, "out of range")
    query = lambda text: lambda: client.query(name, filter=text, limit=1)
    refused(query("$[n] == 1"), 1100, r"\$\[n\] syntax can only be used inside")
    refused(query("match_any(chunks, $[m] == 1)"), 1100, r"array field not found: chunks\[m\]")
    refused(query("match_least(chunks, $[n] == 1, threshold=0)"), 1100, "MATCH_LEAST must be positive")
    refused(query("match_any(chunks, id == 1)"), 1100, "field id cannot be used")
    refused(lambda: client.query(name, filter="id > 0", output_fields=["chunks[m]"]), 1100, r"chunks\[m\] not exist")

    def create_with(dtype, **options):
        struct = client.create_struct_field_schema()
        struct.add_field("a", dtype, **options)
        schema = client.create_schema()
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
        schema.add_field("s", DataType.ARRAY, element_type=DataType.STRUCT, struct_schema=struct, max_capacity=4)
        return lambda: client.create_collection(name + "_bad", schema=schema)

    with pytest.raises(MilvusException, match=r"element type \w+ is not supported"):
        create_with(DataType.SPARSE_FLOAT_VECTOR)()
    with pytest.raises(MilvusException, match=r"element type \w+ is not supported"):
        create_with(DataType.JSON)()
    assert not client.has_collection(name + "_bad")
