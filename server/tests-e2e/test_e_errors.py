"""The mistakes that every user makes first: same exception class, same code, same words as Milvus, and what would be allowed.

Two kinds of check meet here. pymilvus itself refuses some requests before they leave (`ParamError`,
`DataNotMatchException`, ...); these tests pin that the server gives it the descriptions that it needs for that. The
rest is the server's answer. Milvus answers some mistakes with 65535 ("unexpected error") in 2.x and with 1100
("invalid parameter") in 3.x; either is accepted there.
"""

import re
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from pymilvus import DataType, MilvusClient
from pymilvus.exceptions import (
    DataNotMatchException,
    DescribeCollectionException,
    MilvusException,
    ParamError,
    PrimaryKeyException,
)

INVALID = (1100, 65535)
ROW = {"id": 1, "v": [1.0, 2.0, 3.0, 4.0], "t": "abc", "n": 7, "j": {"a": 1}, "a": [1, 2]}
Q = [[1.0, 2.0, 3.0, 4.0]]
PK = ("id", DataType.INT64, {"is_primary": True})
VEC = ("v", DataType.FLOAT_VECTOR, {"dim": 4})


@dataclass
class Mistake:
    """One call that must fail: what it does, with which exception, code and words (regular expressions, all must match)."""

    label: str
    call: object
    kind: type
    code: int | tuple[int, ...]
    words: tuple[str, ...]

    def check(self, context):
        with pytest.raises(MilvusException) as caught:
            self.call(context)
        error = caught.value
        shown = f"{type(error).__name__}, code {error.code}: {error.message}"
        codes = self.code if isinstance(self.code, tuple) else (self.code,)
        assert type(error) is self.kind, f"exception class: {shown}"
        assert error.code in codes, f"code should be {codes}: {shown}"
        for word in self.words:
            assert re.search(word, error.message), f"should say {word!r}: {shown}"


def mistake(label, kind, code, *words):
    return lambda call: Mistake(label, call, kind, code, words)


def refused(label, code, *words):
    """A mistake that the server finds."""
    return mistake(label, MilvusException, code, *words)


@pytest.fixture(scope="module")
def context(client):
    """`strict` is loaded, `bare` has no index, `loose` is a quick-create collection, `ix` builds index parameters."""

    def index(**options):
        params = client.prepare_index_params()
        params.add_index(**options)
        return params

    def create(name, *fields, **options):
        schema = client.create_schema(**options)
        for field, kind, more in fields:
            schema.add_field(field, kind, **more)
        client.create_collection(name, schema=schema)

    strict = [
        PK, VEC, ("t", DataType.VARCHAR, {"max_length": 5}), ("n", DataType.INT32, {}), ("j", DataType.JSON, {}),
        ("a", DataType.ARRAY, {"element_type": DataType.INT64, "max_capacity": 3}),
    ]  # fmt: skip
    names = ["errors_strict", "errors_bare", "errors_loose", "errors_released"]
    for name in names:
        client.drop_collection(name)
    create(names[0], *strict)
    client.create_index(names[0], index(field_name="v", index_type="HNSW", metric_type="L2", params={"M": 8, "efConstruction": 64}))
    client.load_collection(names[0])
    client.insert(names[0], [ROW])
    create(names[1], PK, VEC)
    client.create_collection(names[2], dimension=4)
    client.create_collection(names[3], dimension=4)
    client.release_collection(names[3])
    yield SimpleNamespace(c=client, strict=names[0], bare=names[1], loose=names[2], released=names[3], ix=index, create=create)
    for name in [*names, "errors_new"]:
        client.drop_collection(name)


def insert(**changes):
    return lambda x: x.c.insert(x.strict, [{**ROW, **changes}])


def without(field):
    return lambda x: x.c.insert(x.strict, [{k: v for k, v in ROW.items() if k != field}])


def search(**options):
    return lambda x: x.c.search(x.strict, options.pop("data", Q), **{"anns_field": "v", "limit": 3, **options})


def query(text, **options):
    return lambda x: x.c.query(x.strict, filter=text, **options)


def index(**options):
    return lambda x: x.c.create_index(x.bare, x.ix(**{"field_name": "v", "index_type": "HNSW", "metric_type": "L2", **options}))


def quick(name, **options):
    return lambda x: x.c.create_collection(name, **{"dimension": 4, **options})


def schema(*fields, **options):
    return lambda x: x.create("errors_new", *fields, **options)


DIMENSION = [
    refused("insert shorter", INVALID, r"(length\(3\) of float data should divide the dim\(4\)|dim \(3\).*schema dim \(4\))")(insert(v=[1.0, 2.0, 3.0])),
    refused("insert multiple", INVALID, r"num_rows|dim \(8\).*schema dim \(4\)|should divide the dim\(4\)")(insert(v=[1.0] * 8)),
    refused("search shorter", (1100, 2000, 65535), r"vector dimension mismatch", r"expected vector size\(byte\) 16, actual 12")(search(data=[[1.0, 2.0, 3.0]])),
]  # fmt: skip

FIELDS = [
    mistake("vector missing", DataNotMatchException, 1, "Insert missed an field `v` to collection without set nullable==true or set default_value")(without("v")),
    mistake("scalar missing", DataNotMatchException, 1, "Insert missed an field `t`")(without("t")),
    mistake("key missing", DataNotMatchException, 1, "Insert missed an field `id`")(without("id")),
    mistake("unknown field", DataNotMatchException, 1, "Attempt to insert an unexpected field `zzz` to collection without enabling dynamic field")(insert(zzz=1)),
    mistake("wrong type", DataNotMatchException, 1, r"\{n\} field should be a int")(insert(n="seven")),
    mistake("wrong key type", DataNotMatchException, 1, r"\{id\} field should be a int64")(insert(id="one")),
    refused("text too long", 1100, "length of varchar field t exceeds max length", "length: 8", "max length: 5")(insert(t="abcdefgh")),
    refused("bytes, not characters", 1100, "length of varchar field t exceeds max length", "length: 6")(insert(t="äöü")),
    refused("not a number", INVALID, r"NaN|not a number|infinit")(insert(v=[float("nan"), 1.0, 1.0, 1.0])),
    refused("infinite", INVALID, r"[Ii]nf|infinit")(insert(v=[float("inf"), 1.0, 1.0, 1.0])),
    refused("array too long", 1100, "array length exceeds|exceeds max capacity|capacity", "3")(insert(a=[1, 2, 3, 4])),
    refused("duplicate keys in one upsert", 1100, "duplicate primary keys are not allowed in the same batch")(lambda x: x.c.upsert(x.strict, [ROW, ROW])),
    refused("unknown anns_field", INVALID, r"failed to get field schema by name: fieldName\(zz\) not found|zz.*not (found|exist)")(search(anns_field="zz")),
    refused("anns_field is a scalar", INVALID, r"t\b.*vector|vector.*t\b|not a vector|data type")(search(anns_field="t")),
    refused("unknown output field", INVALID, "field zz not exist")(search(output_fields=["zz"])),
    refused("unknown output field of a query", INVALID, "field zz not exist")(query("id > 0", output_fields=["zz"])),
]  # fmt: skip

LOADING = [
    refused("load without an index", (700, *INVALID), r"there is no vector index on field: \[v\], please create index firstly|index not found")(lambda x: x.c.load_collection(x.bare)),
    refused("search, never loaded", 101, r"collection not loaded\[collection=")(lambda x: x.c.search(x.bare, Q, anns_field="v")),
    refused("query, never loaded", 101, r"collection not loaded\[collection=")(lambda x: x.c.query(x.bare, filter="id > 0")),
    refused("search, released", 101, r"collection not loaded\[collection=")(lambda x: x.c.search(x.released, Q)),
    refused("query, released", 101, r"collection not loaded\[collection=")(lambda x: x.c.query(x.released, filter="id > 0")),
    refused("get, released", 101, r"collection not loaded\[collection=")(lambda x: x.c.get(x.released, ids=[1])),
    refused("delete by expression, released", 101, r"collection not loaded\[collection=")(lambda x: x.c.delete(x.released, filter="color == 'red'")),
]  # fmt: skip

INDEXES = [
    refused("unknown field", INVALID, "cannot create index on non-exist field: zz")(index(field_name="zz")),
    refused("unknown type", INVALID, "invalid index type: NOPE", "HNSW")(index(index_type="NOPE")),
    refused("unknown metric", INVALID, "metric type", "NOPE", "L2")(index(metric_type="NOPE", params={"M": 8, "efConstruction": 64})),
    refused("metric of another type", INVALID, "float vector index does not support metric type: HAMMING")(index(metric_type="HAMMING")),
    refused("M too small", 1100, r"param 'M' \(1\) should be in range \[2, 2048\]")(index(params={"M": 1, "efConstruction": 64})),
    refused("M too large", 1100, r"param 'M' \(2049\) should be in range \[2, 2048\]")(index(params={"M": 2049, "efConstruction": 64})),
    refused("M is not a number", 1100, "'?M'?", "abc")(index(params={"M": "abc", "efConstruction": 64})),
    refused("efConstruction too small", 1100, r"param 'efConstruction' \(0\) should be in range \[1, 2147483647\]")(index(params={"M": 8, "efConstruction": 0})),
    refused("nlist too small", 1100, r"param 'nlist' \(0\) should be in range \[1, 65536\]")(index(index_type="IVF_FLAT", params={"nlist": 0})),
    refused("nlist too large", 1100, r"param 'nlist' \(65537\) should be in range \[1, 65536\]")(index(index_type="IVF_FLAT", params={"nlist": 65537})),
    refused("a second, different index", INVALID, "at most one distinct index is allowed per field")(
        lambda x: x.c.create_index(x.strict, x.ix(field_name="v", index_type="IVF_FLAT", metric_type="L2", params={"nlist": 8}))),
    refused("drop while loaded", INVALID, "index cannot be dropped.*(is loaded|on loaded collection).*release")(lambda x: x.c.drop_index(x.strict, "v")),
]  # fmt: skip

SEARCHES = [
    refused("another metric than the index", 1100, r"metric type not match: invalid parameter\[expected=L2\]\[actual=COSINE\]")(search(search_params={"metric_type": "COSINE"})),
    refused("ef smaller than limit", (1100, 2000, 65535), r"ef\(1\) should be larger than k\(10\)")(search(limit=10, search_params={"params": {"ef": 1}})),
    refused("ef is not a number", INVALID, "ef", "abc")(search(search_params={"params": {"ef": "abc"}})),
    mistake("limit 0", ParamError, 1, "`limit` value 0 is illegal")(search(limit=0)),
    mistake("limit below 0", ParamError, 1, "`limit` value -1 is illegal")(search(limit=-1)),
    refused("limit above the maximum", INVALID, r"topk \[16385\] is invalid, it should be in range \[1, 16384\], but got 16385")(search(limit=16385)),
    refused("limit and offset above the maximum", INVALID, r"offset\+topk|max query result window", r"\[1, 16384\]")(search(limit=16380, search_params={"offset": 10})),
    refused("offset below 0", INVALID, r"offset.*-1|-1.*offset")(search(search_params={"offset": -1})),
    mistake("offset is not a number", ParamError, 1, "wrong type for offset, expect int")(search(search_params={"offset": "abc"})),
    mistake("round_decimal", ParamError, 1, "`round_decimal` value 9 is illegal")(search(round_decimal=9)),
    refused("query window", INVALID, r"invalid max query result window, \(offset\+limit\) should be in range \[1, 16384\], but got 16385")(query("id > 0", limit=16385)),
    refused("query without filter and limit", INVALID, "empty expression should be used with limit")(query("")),
    refused("unknown partition, search", (200, *INVALID), r"partition name zz not found|partition not found")(search(partition_names=["zz"])),
    refused("unknown partition, query", (200, *INVALID), r"partition name zz not found|partition not found")(query("id > 0", partition_names=["zz"])),
]  # fmt: skip

PLAN = "failed to create query plan: "
PARSE = PLAN + "cannot parse expression: "
FILTERS = [
    refused("incomplete", 1100, "^" + re.escape(PARSE + "id >"))(query("id >")),
    refused("in a search", 1100, re.escape(PARSE + "id >"))(search(filter="id >")),
    refused("in a delete", 1100, "cannot parse expression: id >")(lambda x: x.c.delete(x.strict, filter="id >")),
    refused("unknown field", 1100, re.escape(PARSE + "zz > 1"), "field zz not exist")(query("zz > 1")),
    refused("text against a number", 1100, "cannot parse expression")(query("t > 1")),
    refused("number against text", 1100, "cannot parse expression")(query("id == 'a'")),
    refused("not boolean: a field", 1100, "predicate is not a boolean expression: id, data type: Int64")(query("id")),
    refused("not boolean: a sum", 1100, "failed to create query plan")(query("id + 1")),
    refused("`not` binds tighter than `==`", 1100, "cannot parse expression")(query("not id == 1")),
    refused("`in` without a list", 1100, "cannot parse expression")(query("id in 5")),
    refused("`==` with a list", 1100, "cannot parse expression")(query("id == 1, 2")),
    refused("`==` with nothing", 1100, "cannot parse expression")(lambda x: x.c.delete(x.strict, filter="id ==")),
    refused("a NULL literal", 1100, "cannot parse expression")(query("id == null")),
    refused("`like` without text", 1100, "cannot parse expression")(query("t like 5")),
    refused("division by zero", 1100, "cannot parse expression", "zero")(query("id / 0 == 1")),
    refused("power of a field", 1100, "cannot parse expression", "power")(query("id ** 2 == 4")),
    refused("shift", 1100, "cannot parse expression", "shift")(query("id << 1 == 2")),
    refused("keyword in mixed case", 1100, "cannot parse expression")(query("id > 1 And id < 3")),
    refused("single =", 1100, "cannot parse expression")(query("id = 1")),
    refused("unbalanced parenthesis", 1100, "cannot parse expression")(query("(id > 1")),
    refused("open quote", 1100, "cannot parse expression")(query("t == 'abc")),
    refused("`is null` on a vector", 1100, "cannot parse expression|vector")(query("v is null")),
    refused("template without a value", 1100, "not found|template")(query("id > {x}")),
    mistake("delete without anything", ParamError, 1, "Illegal str variables")(lambda x: x.c.delete(x.strict, filter="")),
    mistake("delete by both", ParamError, 1, "Ambiguous filter parameter")(lambda x: x.c.delete(x.strict, filter="id > 1", ids=[1])),
]  # fmt: skip

NAMES = [
    *(refused(f"collection {bad!r}", 1100, f"Invalid collection name: {re.escape(bad)}. the first character of a collection name must be an underscore or letter: invalid parameter")(quick(bad))
      for bad in ["12-s", "12 s", "(mn)", "中文", "%$#"]),
    refused("collection with a space", 1100, "Invalid collection name: a b. ", "can only contain numbers, letters", "underscores")(quick("a b")),
    refused("collection with a dash", 1100, "Invalid collection name: a-b. ", "can only contain numbers, letters", "underscores")(quick("a-b")),
    refused("collection too long", 1100, "the length of a collection name must be less than 255 characters")(quick("a" * 256)),
    mistake("collection empty", ParamError, 1, "`collection_name` value  is illegal")(quick("")),
    refused("collection blank", 1100, "collection name should not be empty")(quick("  ")),
    refused("field starts with a digit", 1701, r"Invalid field name: 1a. The first character of a field name must be an underscore or letter.", r"field name invalid\[field=1a\]")(schema(PK, VEC, ("1a", DataType.INT64, {}))),
    refused("field with a dash", 1701, "Invalid field name: a-b. Field name can(not)? only contain numbers, letters, and underscores")(schema(PK, VEC, ("a-b", DataType.INT64, {}))),
    refused("field too long", 1701, "The length of a field name must be less than 255 characters")(schema(PK, VEC, ("a" * 256, DataType.INT64, {}))),
    *(refused(f"field {word!r} is reserved", (1100, 1701, 65535), re.escape(word))(schema(PK, VEC, (word, DataType.INT64, {})))
      for word in ["RowID", "Timestamp", "$meta", "like", "and", "true", "json_contains"]),
    refused("partition", INVALID, "Invalid partition name: 12-s. ", "first character of a partition name must be an underscore or letter")(lambda x: x.c.create_partition(x.loose, "12-s")),
    refused("alias", 1100, "Invalid collection alias: 12-s. the first character of a collection alias must be an underscore or letter")(lambda x: x.c.create_alias(x.loose, "12-s")),
    refused("database", 802, r"the first character of a database name must be an underscore or letter: invalid database name\[database=12-s\]")(lambda x: x.c.create_database("12-s")),
    refused("database too long", 802, "the length of a database name must be less than 255 characters")(lambda x: x.c.create_database("a" * 256)),
    refused("rename", 1100, "Invalid collection name: 12-s")(lambda x: x.c.rename_collection(x.loose, "12-s")),
]  # fmt: skip

SCHEMAS = [
    refused("dimension 1", INVALID, r"invalid dimension: 1.* should be in range 2 ~ 32768")(quick("errors_new", dimension=1)),
    refused("dimension 0", INVALID, r"invalid dimension: 0.* should be in range 2 ~ 32768")(quick("errors_new", dimension=0)),
    refused("dimension 32769", INVALID, r"invalid dimension: 32769.* should be in range 2 ~ 32768")(quick("errors_new", dimension=32769)),
    mistake("dimension is text", ParamError, 1, r"wrong type of argument \[dimension\]")(quick("errors_new", dimension="8")),
    refused("unknown metric", 1100, r"float vector index does not support metric type: nope.*L2, IP, COSINE")(quick("errors_new", metric_type="nope")),
    refused("exists with another dimension", (1, *INVALID), r"create duplicate collection with different parameters, collection: errors_loose")(quick("errors_loose", dimension=8)),
    mistake("no key", PrimaryKeyException, 1, "Schema must have a primary key field.")(schema(("id", DataType.INT64, {}), VEC)),
    mistake("two keys", PrimaryKeyException, 1, "Expected only one primary key field")(schema(PK, ("b", DataType.INT64, {"is_primary": True}), VEC)),
    mistake("key of a wrong type", PrimaryKeyException, 1, "Primary key type must be DataType.INT64 or DataType.VARCHAR.")(schema(("id", DataType.FLOAT, {"is_primary": True}), VEC)),
    refused("no vector", INVALID, "schema does not contain vector field|vector field")(schema(PK)),
    refused("a field twice", INVALID, "duplicated field name")(schema(PK, VEC, VEC)),
    refused("no dimension", INVALID, "dimension is not defined in field type params, check type param `dim` for vector field|dim")(schema(PK, ("v", DataType.FLOAT_VECTOR, {}))),
    refused("no max_length", INVALID, r"type param\(max_length\) should be specified for (varChar field|the field)\(?t?\)?")(schema(PK, VEC, ("t", DataType.VARCHAR, {}))),
    refused("max_length too large", INVALID, r"the maximum length specified for the field\(t\) should be in \(0, 65535\], but got 70000 instead")(schema(PK, VEC, ("t", DataType.VARCHAR, {"max_length": 70000}))),
    refused("max_capacity too large", INVALID, r"maximum capacity", r"\(0, 4096\]", "5000")(schema(PK, VEC, ("a", DataType.ARRAY, {"element_type": DataType.INT64, "max_capacity": 5000}))),
    refused("no max_capacity", INVALID, "max_capacity")(schema(PK, VEC, ("a", DataType.ARRAY, {"element_type": DataType.INT64}))),
    refused("65 fields", INVALID, "maximum field's number should be limited to 64")(schema(PK, VEC, *((f"f{i}", DataType.INT64, {}) for i in range(63)))),
    refused("11 vector fields", INVALID, "maximum vector field's number should be limited to 10")(schema(PK, *((f"f{i}", DataType.FLOAT_VECTOR, {"dim": 4}) for i in range(11)))),
    refused("nullable key", INVALID, "primary (field|key).*null|null.*primary")(schema(("id", DataType.INT64, {"is_primary": True, "nullable": True}), VEC)),
    refused("default of another type", INVALID, r"default value type mis-?match|type of default value|default")(schema(PK, VEC, ("t", DataType.VARCHAR, {"max_length": 3, "default_value": "too long"}))),
    refused("17 shards", INVALID, "maximum shards's number should be limited to 16")(lambda x: x.c.create_collection("errors_new", dimension=4, num_shards=17)),
    refused("default of a TEXT", INVALID, "default")(schema(PK, VEC, ("t", DataType.TEXT, {"default_value": "x"}))),
    refused("elements of type TEXT", INVALID, "element type Text is not supported")(schema(PK, VEC, ("a", DataType.ARRAY, {"element_type": DataType.TEXT, "max_capacity": 5}))),
]  # fmt: skip

FOUND = r"(can't find collection|collection not found)\[database=default\]\[collection=nope\]"
MISSING = [
    mistake("describe", DescribeCollectionException, 100, r"can't find collection\[database=default\]\[collection=nope\]")(lambda x: x.c.describe_collection("nope")),
    mistake("insert", DescribeCollectionException, 100, FOUND)(lambda x: x.c.insert("nope", [{"id": 1}])),
    mistake("upsert", DescribeCollectionException, 100, FOUND)(lambda x: x.c.upsert("nope", [{"id": 1}])),
    refused("search", 100, FOUND)(lambda x: x.c.search("nope", Q)),
    refused("query", 100, FOUND)(lambda x: x.c.query("nope", filter="id > 0")),
    refused("load", 100, FOUND)(lambda x: x.c.load_collection("nope")),
    refused("release", 100, FOUND)(lambda x: x.c.release_collection("nope")),
    refused("statistics", 100, FOUND)(lambda x: x.c.get_collection_stats("nope")),
    refused("flush", 100, FOUND)(lambda x: x.c.flush("nope")),
    refused("list partitions", 100, FOUND)(lambda x: x.c.list_partitions("nope")),
    refused("create partition", 100, FOUND)(lambda x: x.c.create_partition("nope", "p")),
    refused("create index", 100, FOUND)(lambda x: x.c.create_index("nope", x.ix(field_name="v", index_type="FLAT", metric_type="L2"))),
    refused("list indexes", 100, FOUND)(lambda x: x.c.list_indexes("nope")),
    refused("alias", 100, FOUND)(lambda x: x.c.create_alias("nope", "errors_alias")),
    refused("rename", 100, FOUND)(lambda x: x.c.rename_collection("nope", "other")),
    refused("properties", 100, FOUND)(lambda x: x.c.alter_collection_properties("nope", {"a": "b"})),
    refused("insert into a partition", 200, r"partition not found\[partition=zz\]")(lambda x: x.c.insert(x.loose, [{"id": 1, "vector": Q[0]}], partition_name="zz")),
    refused("load a partition", 200, r"partition not found\[partition=zz\]")(lambda x: x.c.load_partitions(x.loose, ["zz"])),
    refused("alias to describe", 1600, r"alias not found\[database=default\]\[alias=zz\]")(lambda x: x.c.describe_alias("zz")),
    refused("alias to alter", 1600, r"alias not found\[database=default\]\[alias=zz\]")(lambda x: x.c.alter_alias(x.loose, "zz")),
    refused("database to use", 800, r"database not found\[database=zz\]")(lambda x: x.c.use_database("zz")),
    refused("database to describe", 800, r"database not found\[database=zz\]")(lambda x: x.c.describe_database("zz")),
]  # fmt: skip

CONFLICTS = [
    refused("drop the default partition", INVALID, "default partition cannot be deleted")(lambda x: x.c.drop_partition(x.loose, "_default")),
    refused("drop the default database", INVALID, "can not drop default database")(lambda x: x.c.drop_database("default")),
    refused("database exists", INVALID, "database already exist: default")(lambda x: x.c.create_database("default")),
    refused("alias is a collection's name", 1601, r"alias and collection name conflict\[database=default\]\[alias=errors_loose\]")(lambda x: x.c.create_alias(x.strict, x.loose)),
    refused("rename to a name that is taken", INVALID, r"duplicated new collection name default:errors_strict with other collection name or alias")(lambda x: x.c.rename_collection(x.loose, x.strict)),
]  # fmt: skip

GROUPS = {
    "dimension": DIMENSION, "fields": FIELDS, "loading": LOADING, "index": INDEXES, "search": SEARCHES, "filter": FILTERS,
    "name": NAMES, "schema": SCHEMAS, "missing": MISSING, "conflict": CONFLICTS,
}  # fmt: skip
ALL = [pytest.param(m, id=f"{group}: {m.label}") for group, mistakes in GROUPS.items() for m in mistakes]


@pytest.mark.parametrize("case", ALL)
def test_mistake(context, case):
    case.check(context)


def test_a_database_that_is_not_there(server):
    with pytest.raises(MilvusException) as caught:
        MilvusClient(server.uri, db_name="nowhere").list_collections()
    assert caught.value.code == 800
    assert "database not found[database=nowhere]" in caught.value.message


def test_one_alias_for_two_collections(context, client):
    client.create_alias(context.loose, "errors_alias")
    try:
        with pytest.raises(MilvusException) as caught:
            client.create_alias(context.strict, "errors_alias")
        assert caught.value.code == 1602
        assert (
            "errors_alias is alias to another collection: errors_loose: "
            "alias already exist[database=default][alias=errors_alias]" in caught.value.message
        )
        with pytest.raises(MilvusException, match="it has associated aliases .*errors_alias") as caught:
            client.drop_collection(context.loose)
        with pytest.raises(MilvusException) as caught:
            client.create_collection("errors_alias", dimension=4)
        assert "alias" in caught.value.message
    finally:
        client.drop_alias("errors_alias")


def test_a_database_with_collections_is_not_dropped(server, client):
    client.create_database("errors_db")
    inside = MilvusClient(server.uri, db_name="errors_db")
    inside.create_collection("inside", dimension=4)
    try:
        with pytest.raises(MilvusException, match="not empty, must drop all collections before drop database"):
            client.drop_database("errors_db")
    finally:
        inside.drop_collection("inside")
        client.drop_database("errors_db")
        inside.close()


def test_a_loaded_partition_is_not_dropped(context, client):
    client.create_partition(context.loose, "kept")
    client.load_collection(context.loose)
    with pytest.raises(MilvusException, match="partition cannot be dropped, partition is loaded, please release it first"):
        client.drop_partition(context.loose, "kept")
    client.release_partitions(context.loose, ["kept"])
    client.drop_partition(context.loose, "kept")


def test_what_is_no_mistake(context, client):
    """Milvus answers these without complaint, and programs rely on it."""
    client.drop_collection("errors_never_there")
    client.drop_alias("errors_never_there")
    assert not client.has_collection("errors_never_there")
    client.create_collection(context.loose, dimension=4)
    client.create_index(
        context.strict,
        context.ix(field_name="v", index_type="HNSW", metric_type="L2", params={"M": 8, "efConstruction": 64}),
    )
    client.load_collection(context.strict)
    assert len(client.query(context.strict, filter="id in []")) == 0
    assert len(client.query(context.strict, filter="1 == 1")) == 1
    client.delete(context.strict, ids=[123456])
    assert str(client.get_load_state("errors_never_there")["state"]) == "NotExist"


def test_a_failed_insert_leaves_nothing(context, client):
    before = client.query(context.strict, output_fields=["count(*)"])[0]["count(*)"]
    with pytest.raises(MilvusException):
        client.insert(context.strict, [{**ROW, "id": 77}, {**ROW, "id": 78, "t": "much too long"}])
    assert client.query(context.strict, output_fields=["count(*)"])[0]["count(*)"] == before
    assert len(client.query(context.strict, filter="id == 77")) == 0
