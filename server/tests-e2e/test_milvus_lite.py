"""Random filters, compared with `milvus-lite`: the same rows, or a known difference.

Set ELANUS_EXPRESSIONS to compare more than the default.
"""

from __future__ import annotations

import os

from expressions import Expressions
from pymilvus import DataType, MilvusClient, MilvusException

COUNT = int(os.environ.get("ELANUS_EXPRESSIONS", "4000"))
PER_COLLECTION = 250
ROWS = 120


def create(client: MilvusClient, name: str, made: Expressions, every_second_indexed: bool) -> None:
    schema = client.create_schema(enable_dynamic_field=made.dynamic)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    for field, (kind, nullable) in made.fields.items():
        limits = {"max_length": 20} if kind.endswith("VARCHAR") else {}
        if kind.startswith("ARRAY:"):
            limits.update(element_type=DataType[kind[6:]], max_capacity=8)
        schema.add_field(field, DataType[kind.split(":")[0]], nullable=nullable, **limits)
    indexes = client.prepare_index_params()
    indexes.add_index("v", index_type="FLAT", metric_type="L2")
    for field, (kind, _) in list(made.fields.items())[::2] if every_second_indexed else []:
        place = {"json_path": f'{field}["a"]', "json_cast_type": "DOUBLE"} if kind == "JSON" else {}
        indexes.add_index(field, index_type="INVERTED", index_name=f"on_{field}", **place)
    client.create_collection(name, schema=schema, index_params=indexes, consistency_level="Strong")


def found(client: MilvusClient, name: str, text: str, values: dict | None = None) -> list[int] | str:
    try:
        rows = client.query(name, filter=text, filter_params=values or {}, output_fields=["id"], limit=1000)
        return sorted(row["id"] for row in rows)
    except MilvusException as error:
        return f"{error.code}: {error.message}"


# What the random filters keep clear of, or say to the peer in other words: a filter, the rows that it finds here, those that
# it finds there (none where it is refused), and the rule.
KNOWN = [
    ("n not in [1]", [2], [2, 3], "NULL is neither in nor not in a list"),
    ("not (n in [1])", [2], [2, 3], "NULL is neither in nor not in a list"),
    ("not array_contains(l, 1)", [2], [2, 3], "NULL neither contains nor lacks an element"),
    ("array_length(l) < 5", [1, 2], [1, 2, 3], "NULL has no length"),
    ("id / 2 == 1", [2, 3], [2], "integers are divided as integers"),
    ("j == 1", [1], [1, 2], "true is not the number 1"),
    (r"w[0] like '%\\%'", [1], [], "a backslash takes the next character as it is, also in elements and documents"),
    ("j != 7", [1], [1, 2, 3], "values of different types do not compare, neither as equal nor as different"),
    ("not array_contains(j, 1)", [], [1, 2, 3], "what is no list neither contains nor lacks an element"),
    ("array_length(j) == 0", [], [1, 2, 3], "what is no list has no length"),
    ("not (l[0] in [1])", [2], None, "the peer reads no list beside an element"),
    ("w[0] not in ['ab']", [1], None, "the peer reads no list beside an element"),
    ("j in [1, '1']", [1, 3], None, "a place in a document may have values of several types"),
    ("1 <= n < 2", [1], None, "the peer reads no range in one piece"),
    ("n % 2 == 1", [1], None, "the peer has no remainders"),
    ("(n & 2) == 2", [2], None, "the peer has no operators on bits"),
    ("w[0] =~ '^a'", [2], None, "the peer has no regular expressions"),
    ("l == [2, 3]", [2], None, "the peer compares no whole arrays"),
    ("l != [2, 3]", [1], None, "the peer compares no whole arrays"),
]


def test_known_differences_are_still_as_described(client, peer, name):
    schema = client.create_schema(enable_dynamic_field=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    schema.add_field("n", DataType.INT32, nullable=True)
    schema.add_field("l", DataType.ARRAY, element_type=DataType.INT64, max_capacity=4, nullable=True)
    schema.add_field("w", DataType.ARRAY, element_type=DataType.VARCHAR, max_length=20, max_capacity=4)
    rows = [
        {"id": 1, "v": [0.0, 1.0], "n": 1, "l": [1], "w": ["100%"], "j": 1},
        {"id": 2, "v": [0.0, 1.0], "n": 2, "l": [2, 3], "w": ["ab"], "j": True},
        {"id": 3, "v": [0.0, 1.0], "n": None, "l": None, "w": [], "j": "1"},
    ]
    for each in (client, peer):
        indexes = each.prepare_index_params()
        indexes.add_index("v", index_type="FLAT", metric_type="L2")
        each.create_collection(name, schema=schema, index_params=indexes, consistency_level="Strong")
        each.insert(name, rows)
    results = []
    for text, _, _, rule in KNOWN:
        theirs = found(peer, name, text)
        results.append((text, found(client, name, text), None if isinstance(theirs, str) else theirs, rule))
    peer.drop_collection(name)
    assert results == KNOWN


def test_random_filters_find_the_same_rows(client, peer, name):
    different, refused, compared = [], 0, 0
    for seed in range((COUNT + PER_COLLECTION - 1) // PER_COLLECTION):
        made = Expressions(seed)
        rows = [made.row(key) for key in range(ROWS)]
        for each in (client, peer):
            create(each, name, made, every_second_indexed=each is client)
            each.insert(name, rows[: ROWS // 2])
            if each is client:
                each.flush(name)
            each.insert(name, rows[ROWS // 2 :])
        for _ in range(PER_COLLECTION):
            (text, there), values = made.filter()
            ours, theirs = found(client, name, text, values), found(peer, name, there)
            refused += isinstance(theirs, str)
            compared += 1
            if isinstance(ours, str):
                different.append(f"seed {seed}: {text} {values}\n  {ours}")
            elif not isinstance(theirs, str) and ours != theirs:
                row = next(iter(set(ours) ^ set(theirs)))
                different.append(f"seed {seed}: {text} {values}\n  {'only ours' if row in ours else 'only theirs'}: {rows[row]}")
        for each in (client, peer):
            each.drop_collection(name)
    assert not different, f"{len(different)} of {compared}:\n" + "\n".join(different[:20])
    assert refused < compared / 100, f"milvus-lite refused {refused} of {compared}"
