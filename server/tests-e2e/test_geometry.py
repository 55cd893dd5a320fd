"""GEOMETRY fields with pymilvus: shapes in and out, spatial filters against plain arithmetic and against `milvus-lite`."""

import random

import pytest
from harness import eventually
from pymilvus import DataType, MilvusClient, MilvusException

COUNT = 300


def rectangle(left, bottom, right, top) -> str:
    return f"POLYGON (({left} {bottom}, {right} {bottom}, {right} {top}, {left} {top}, {left} {bottom}))"


def create(each: MilvusClient, name: str, index: str = "AUTOINDEX", **options) -> None:
    schema = each.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    schema.add_field("g", DataType.GEOMETRY, **options)
    indexes = each.prepare_index_params()
    indexes.add_index("v", index_type="FLAT", metric_type="L2")
    if index:
        indexes.add_index("g", index_type=index)
    each.create_collection(name, schema=schema, index_params=indexes, consistency_level="Strong")


def found(each: MilvusClient, name: str, text: str) -> list[int]:
    return sorted(row["id"] for row in each.query(name, filter=text, output_fields=["id"], limit=1000))


def test_shapes_come_back_in_their_canonical_form(client, name, own_server):
    shapes = {
        "POINT(1 2.50)": "POINT (1 2.5)",
        "linestring (0 0,1 1)": "LINESTRING (0 0, 1 1)",
        "POLYGON((0 0,9 0,9 9,0 9,0 0),(1 1,2 1,2 2,1 1))": "POLYGON ((0 0, 9 0, 9 9, 0 9, 0 0), (1 1, 2 1, 2 2, 1 1))",
        "MULTIPOINT(1 2,3 4)": "MULTIPOINT ((1 2), (3 4))",
        "MULTILINESTRING((0 0,1 1),(2 2,3 3))": "MULTILINESTRING ((0 0, 1 1), (2 2, 3 3))",
        "MULTIPOLYGON(((0 0,1 0,1 1,0 0)))": "MULTIPOLYGON (((0 0, 1 0, 1 1, 0 0)))",
        "GEOMETRYCOLLECTION(POINT(1 2),LINESTRING(0 0,1 1))": "GEOMETRYCOLLECTION (POINT (1 2), LINESTRING (0 0, 1 1))",
    }
    own = MilvusClient(own_server.uri)
    for each in (client, own):
        create(each, name, index="RTREE", nullable=True)
        each.insert(name, [{"id": key, "v": [key, 0.0], "g": text} for key, text in enumerate(shapes)])
        each.insert(name, [{"id": 99, "v": [99.0, 0.0], "g": None}])
    own.flush(name)
    own.insert(name, [{"id": 100, "v": [0.0, 9.0], "g": "POINT (7 7)"}])
    own.close()
    own_server.restart(crash=True)
    own = MilvusClient(own_server.uri)
    own.load_collection(name)
    for each in (client, own):
        rows = each.query(name, filter="id < 100", output_fields=["g"], limit=100)
        assert [row["g"] for row in sorted(rows, key=lambda row: row["id"])] == [*shapes.values(), None]
        hits = each.search(name, [[0.0, 0.0]], limit=2, filter="st_contains(g, 'POINT (5 5)')", output_fields=["g"])[0]
        assert [hit["entity"]["g"] for hit in hits] == [shapes["POLYGON((0 0,9 0,9 9,0 9,0 0),(1 1,2 1,2 2,1 1))"]]
    assert own.query(name, filter="id == 100", output_fields=["*"])[0]["g"] == "POINT (7 7)"
    field = next(field for field in client.describe_collection(name)["fields"] if field["name"] == "g")
    assert field["type"] == DataType.GEOMETRY and field["nullable"]
    assert client.describe_index(name, "g")["index_type"] == "RTREE"
    client.upsert(name, [{"id": 0, "v": [0.0, 0.0], "g": "POINT (8 8)"}])
    assert client.get(name, ids=[0], output_fields=["g"])[0]["g"] == "POINT (8 8)"
    own.close()


def test_a_default_stands_in(client, name):
    create(client, name, default_value="POINT(3 4)")
    client.insert(name, [{"id": 1, "v": [0.0, 0.0]}, {"id": 2, "v": [0.0, 0.0], "g": "POINT (1 1)"}])
    rows = client.query(name, filter="id > 0", output_fields=["g"])
    assert {row["id"]: row["g"] for row in rows} == {1: "POINT (3 4)", 2: "POINT (1 1)"}


def test_spatial_filters_against_arithmetic(client, name):
    """Points on a coarse grid and rectangles on it, so that many lie on the edges."""
    drawn = random.Random(3)
    points = {key: (drawn.randint(-9, 9), drawn.randint(-9, 9)) for key in range(COUNT)}
    create(client, name, nullable=True)
    rows = [{"id": key, "v": [0.0, 1.0], "g": None if key % 10 == 0 else f"POINT ({x} {y})"} for key, (x, y) in points.items()]
    client.insert(name, rows[: COUNT // 2])
    client.flush(name)
    client.insert(name, rows[COUNT // 2 :])
    known = {key: point for key, point in points.items() if key % 10}
    for _ in range(30):
        left, bottom = drawn.randint(-9, 5), drawn.randint(-9, 5)
        right, top = left + drawn.randint(1, 8), bottom + drawn.randint(1, 8)
        shape = rectangle(left, bottom, right, top)
        inside = {key for key, (x, y) in known.items() if left < x < right and bottom < y < top}
        closed = {key for key, (x, y) in known.items() if left <= x <= right and bottom <= y <= top}
        for text, expected in [
            (f"st_within(g, '{shape}')", inside),
            (f"ST_INTERSECTS(g, '{shape}')", closed),
            (f"st_touches(g, '{shape}')", closed - inside),
            (f"not st_intersects(g, '{shape}')", known.keys() - closed),
            (f"st_within(g, '{shape}') and id < 100", {key for key in inside if key < 100}),
            (f"st_equals(g, 'POINT ({left} {top})')", {key for key, point in known.items() if point == (left, top)}),
        ]:
            assert found(client, name, text) == sorted(expected), text
    found_by_template = client.query(
        name, filter="st_within(g, {shape})", filter_params={"shape": shape}, output_fields=["id"], limit=1000
    )
    assert sorted(row["id"] for row in found_by_template) == sorted(inside)
    assert found(client, name, "g is null") == [key for key in points if key % 10 == 0]
    # A degree of latitude is about 111 km everywhere.
    near = {key for key, (x, y) in known.items() if x == 0 and abs(y) <= 3}
    assert found(client, name, "st_dwithin(g, 'POINT (0 0)', 340000) and st_intersects(g, 'LINESTRING (0 -9, 0 9)')") == sorted(near)


def test_spatial_filters_against_milvus_lite(client, peer, name):
    """Points off the edges: on them the peer counts a shape as inside, which the standard does not."""
    drawn = random.Random(4)
    shapes = [
        rectangle(x, y, x + drawn.uniform(0.5, 6), y + drawn.uniform(0.5, 6)) if drawn.random() < 0.4 else f"POINT ({x} {y})"
        for x, y in ((drawn.uniform(-9, 9), drawn.uniform(-9, 9)) for _ in range(COUNT))
    ]
    for each in (client, peer):
        create(each, name, index="AUTOINDEX" if each is client else "")
        each.insert(name, [{"id": key, "v": [0.0, 1.0], "g": shape} for key, shape in enumerate(shapes)])
    for _ in range(40):
        left, bottom = drawn.uniform(-9, 5), drawn.uniform(-9, 5)
        shape = rectangle(left, bottom, left + drawn.uniform(1, 8), bottom + drawn.uniform(1, 8))
        if drawn.random() < 0.3:
            shape = f"POINT ({left} {bottom})"
        for relation in ("st_within", "st_contains", "ST_INTERSECTS", "not st_intersects"):
            text = f"{relation}(g, '{shape}')"
            assert found(client, name, text) == found(peer, name, text), text
    assert found(client, name, "st_isvalid(g)") == found(peer, name, "st_isvalid(g)")
    peer.drop_collection(name)


def test_what_is_no_shape_is_refused(client, name):
    create(client, name)

    def refused(call):
        with pytest.raises(MilvusException) as caught:
            call()
        return caught.value.code, caught.value.message

    code, message = refused(lambda: client.insert(name, [{"id": 1, "v": [0.0, 0.0], "g": "POINT (1)"}]))
    assert code == 1100 and "geometry field 'g' is no shape: expected a number at byte 8, found ')'" in message
    code, message = refused(lambda: client.query(name, filter="st_within(g, 'POINT (1)')"))
    assert code == 1100 and "cannot parse expression" in message and "st_within is not valid" in message
    code, message = refused(lambda: client.query(name, filter="st_within(id, 'POINT (1 1)')"))
    assert code == 1100 and "can only be used on a geometry field" in message
    code, message = refused(lambda: create(client, f"{name}_d", default_value="POINT"))
    assert code == 1100 and "is no shape" in message
    indexes = client.prepare_index_params()
    indexes.add_index("id", index_type="RTREE")
    code, message = refused(lambda: client.create_index(name, indexes))
    assert code == 1100 and "RTREE index is not supported on field 'id'" in message


def test_a_random_sample_is_drawn_from_what_the_rest_keeps(client, name):
    create(client, name, index="")
    client.insert(name, [{"id": key, "v": [float(key), 0.0], "g": "POINT (0 0)"} for key in range(2000)])
    client.flush(name)
    eventually(lambda: client.query(name, output_fields=["count(*)"])[0]["count(*)"] == 2000, "the rows are there")
    draws = [found(client, name, "id < 1000 and random_sample(0.3)") for _ in range(3)]
    for draw in draws:
        assert 150 < len(draw) < 450 and all(row < 1000 for row in draw)
    assert draws[0] != draws[1] and draws[1] != draws[2], "each request draws anew"
    hits = client.search(name, [[0.0, 0.0]], limit=400, filter="id >= 1000 and random_sample(0.5)")[0]
    assert len(hits) == 400 and all(hit["id"] >= 1000 for hit in hits)
    assert [hit["distance"] for hit in hits] == sorted(hit["distance"] for hit in hits)
    with pytest.raises(MilvusException, match="alone or as the last condition"):
        found(client, name, "random_sample(0.3) or id < 5")
