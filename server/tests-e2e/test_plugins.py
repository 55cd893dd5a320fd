"""Plugins through the running server: registered in SQL, used by Milvus clients, uploaded, kept over crashes; and one that
takes too long again and again, while others go on being answered."""

import threading

import pyarrow as pa
import pyarrow.flight as flight
import pytest
from harness import REPOSITORY, Server
from pymilvus import AnnSearchRequest, DataType, Function, FunctionType, MilvusClient, MilvusException

# What Flight makes of a statement that is refused.
REFUSED = (flight.FlightError, pa.ArrowInvalid)
PREBUILT = REPOSITORY / "plugins" / "examples" / "prebuilt"


@pytest.fixture
def allowing(tmp_path):
    server = Server(tmp_path / "data", "--allow-plugins", "--allow-files", str(PREBUILT)).start()
    yield server
    server.kill()


def run(server, statement):
    """The rows of a statement, as dictionaries."""
    client = flight.connect(server.flight)
    try:
        info = client.get_flight_info(flight.FlightDescriptor.for_command(statement_query(statement)))
        return [row for end in info.endpoints for row in client.do_get(end.ticket).read_all().to_pylist()]
    finally:
        client.close()


def statement_query(text):
    """`CommandStatementQuery` of Flight SQL, which is `Any` around one text."""
    def field(number, payload):
        length, size = len(payload), b""
        while length > 127:
            size += bytes([length & 127 | 128])
            length >>= 7
        return bytes([number << 3 | 2]) + size + bytes([length]) + payload

    kind = b"type.googleapis.com/arrow.flight.protocol.sql.CommandStatementQuery"
    return field(1, kind) + field(2, field(1, text.encode()))


def register(server, name, example, settings=""):
    run(server, f"CREATE RERANKER {name} FROM '{PREBUILT / example}.wasm' {settings}")


def with_rows(client, rows=20, dim=2):
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("created_at", DataType.INT64)
    schema.add_field("body", DataType.VARCHAR, max_length=50)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=dim)
    indexes = client.prepare_index_params()
    indexes.add_index("v", index_type="FLAT", metric_type="L2")
    client.create_collection("posts", schema=schema, index_params=indexes, consistency_level="Strong")
    client.insert("posts", [
        {"id": i, "created_at": i * 100, "body": f"post {i}", "v": [1.0, i / 100, *[0.0] * (dim - 2)]} for i in range(rows)
    ])  # fmt: skip


def ranker(name, inputs=(), **params):
    return Function(
        name=name, function_type=FunctionType.RERANK, input_field_names=list(inputs),
        params={"reranker": "wasm", "name": name, **params},
    )  # fmt: skip


NOW = {"now": 1900, "half_life": 100}


def search(client, function, limit=3, data=((1.0, 0.0),), **options):
    found = client.search("posts", data=[list(vector) for vector in data], anns_field="v", limit=limit, ranker=function, **options)
    return [[hit["id"] for hit in hits] for hits in found]


def test_a_plugin_reranks_searches_and_hybrid_searches(allowing):
    register(allowing, "newest", "recency")
    register(allowing, "words", "lexical")
    client = MilvusClient(allowing.uri)
    with_rows(client)
    assert search(client, ranker("newest", params=NOW)) == [[19, 18, 17]]
    assert search(client, ranker("newest", params=NOW), offset=1) == [[18, 17, 16]]
    assert search(client, ranker("newest", params=NOW, rerank_k=5)) == [[4, 3, 2]]
    assert search(client, ranker("newest", params=NOW), data=[(1.0, 0.0), (0.0, 1.0)]) == [[19, 18, 17]] * 2
    words = ranker("words", params={"column": "body", "weight": 1}, queries=["post 7", "post 9"])
    assert search(client, words, limit=1, data=[(1.0, 0.0), (1.0, 0.0)]) == [[7], [9]]
    arms = [AnnSearchRequest([[1.0, near]], "v", {"metric_type": "L2"}, limit=10) for near in (0.0, 0.2)]
    found = client.hybrid_search("posts", arms, ranker=ranker("newest", params=NOW), limit=2)
    assert [hit["id"] for hit in found[0]] == [19, 18]
    found = client.hybrid_search("posts", arms, ranker=ranker("newest", params=NOW, ranker="weighted", weights=[0.5, 0.5]), limit=2)
    assert [hit["id"] for hit in found[0]] == [19, 18]
    for function, what in [
        (ranker("nobody"), "there is no reranker 'nobody'"),
        (ranker("newest", params={"now": 1}), "half_life"),
        (ranker("newest", params={**NOW, "column": "body"}), r"needs the column 'body' as BIGINT, it is VARCHAR\(50\)"),
        (ranker("newest", params=NOW, rerank_k=1), "rerank_k is 1"),
        (ranker("newest", params=NOW, depth=1), "unknown param depth of a reranker wasm"),
        (ranker("newest", now=1900), "unknown param now of a reranker wasm, allowed are .* goes into params"),
        (ranker("newest", ["created_at"], params=NOW), "takes no input fields"),
        (ranker("words", params={"column": "body"}), "needs the text of the query"),
        (ranker("words", params={"column": "body"}, queries=["a", "b"]), "got 2 texts for 1 queries"),
    ]:
        with pytest.raises(MilvusException, match=what):
            search(client, function)
    [listed] = run(allowing, "SELECT calls > 5 AS called, traps FROM elanus.plugins WHERE name = 'newest'")
    assert listed == {"called": True, "traps": 0}


def test_plugins_survive_a_crash_and_are_uploaded_from_elsewhere(allowing):
    connection = flight.connect(allowing.flight)
    [answer] = connection.do_action(flight.Action("elanus.UploadPlugin", (PREBUILT / "numbers.wasm").read_bytes()))
    path = answer.body.to_pybytes().decode()
    run(allowing, f"CREATE FUNCTION line LANGUAGE WASM AS '{path}', 'linear'")
    allowing.restart(crash=True)
    assert run(allowing, "SELECT line(2, 3, 4) AS y") == [{"y": 10.0}]
    cached = list((allowing.data / "plugin-cache").glob("*.aot"))
    assert len(cached) == 1, "the machine code is kept"
    run(allowing, "DROP FUNCTION line")
    with pytest.raises(REFUSED, match="line"):
        run(allowing, "SELECT line(2, 3, 4)")


def test_a_server_that_was_not_told_to_registers_nothing(own_server):
    with pytest.raises(REFUSED, match="--allow-plugins"):
        run(own_server, "CREATE RERANKER r FROM 'r.wasm'")
    connection = flight.connect(own_server.flight)
    with pytest.raises(REFUSED, match="--allow-plugins"):
        list(connection.do_action(flight.Action("elanus.UploadPlugin", b"\0asm")))


def test_others_are_answered_while_plugins_run_out_of_time_and_memory(allowing):
    """Every call of `slow` ends at its deadline; every load of `small` at its memory. Nobody else notices but by sharing the processor."""
    register(allowing, "slow", "mmr", "WITH (deadline = '1ms')")
    register(allowing, "newest", "recency")
    client = MilvusClient(allowing.uri)
    with_rows(client, rows=3000, dim=64)
    query = [1.0] + [0.0] * 63
    stop, failures, surprises = threading.Event(), [], []

    def attack():
        own = MilvusClient(allowing.uri)
        while not stop.is_set():
            try:
                search(own, ranker("slow", rerank_k=3000), limit=1500, data=[query])
                surprises.append("a call that takes longer than its deadline gave an answer")
            except MilvusException as error:
                failures.append(str(error))
            try:
                register(allowing, "small", "mmr", "WITH (memory = '64KiB')")
                surprises.append("a plugin without memory was registered")
            except REFUSED as error:
                failures.append(str(error))

    attackers = [threading.Thread(target=attack) for _ in range(4)]
    for attacker in attackers:
        attacker.start()
    try:
        for _ in range(100):
            # Through the same search, through a plugin that behaves, and through SQL.
            assert search(client, ranker("newest", params={"now": 299900, "half_life": 10000}, rerank_k=10), limit=1, data=[query]) == [[9]]
            assert run(allowing, "SELECT count(*) AS n FROM posts") == [{"n": 3000}]
    finally:
        stop.set()
        for attacker in attackers:
            attacker.join()
    assert not surprises, surprises[:3]
    assert failures and all("took longer than 1 ms" in text or "memory" in text for text in failures), failures[:3]
    [slow] = run(allowing, "SELECT traps > 0 AS trapped, last_error FROM elanus.plugins WHERE name = 'slow'")
    assert slow["trapped"] and "mmr 1.0.0" in slow["last_error"]


def test_columns_and_values_of_other_arrow_types_cross_as_streams(tmp_path):
    guests = REPOSITORY / "plugins" / "host" / "tests" / "guests"
    server = Server(tmp_path / "data", "--allow-plugins", "--allow-files", str(guests)).start()
    try:
        run(server, f"CREATE FUNCTION same LANGUAGE WASM AS '{guests / 'ipc-copy.wasm'}', 'copy'")
        query = "SELECT CAST(same(x) AS TEXT) AS y FROM (VALUES (1.25), (NULL), (-0.07)) AS v(x)"
        assert run(server, query) == [{"y": "1.25"}, {"y": None}, {"y": "-0.07"}]

        run(server, f"CREATE RERANKER streams FROM '{guests / 'ipc-column.wasm'}'")
        client = MilvusClient(server.uri)
        for name, tags in [("tagged", DataType.VARCHAR), ("numbered", DataType.INT64)]:
            schema = client.create_schema()
            schema.add_field("id", DataType.INT64, is_primary=True)
            of_texts = {"max_length": 10} if tags == DataType.VARCHAR else {}
            schema.add_field("tags", DataType.ARRAY, element_type=tags, max_capacity=4, nullable=True, **of_texts)
            schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
            indexes = client.prepare_index_params()
            indexes.add_index("v", index_type="FLAT", metric_type="L2")
            client.create_collection(name, schema=schema, index_params=indexes, consistency_level="Strong")
        client.insert("tagged", [{"id": i, "tags": None if i == 2 else ["a"] * i, "v": [i, 0.0]} for i in range(4)])
        ranked = ranker("streams", rerank_k=4)
        hits = client.search("tagged", [[0.0, 0.0]], anns_field="v", limit=3, ranker=ranked)[0]
        assert [hit["id"] for hit in hits] == [0, 1, 2]
        query = "SELECT id FROM vector_search({}, '[0, 0]', 3, rerank => 'streams')"
        assert [row["id"] for row in run(server, query.format("tagged"))] == [0, 1, 2]
        with pytest.raises(REFUSED, match="needs the column 'tags' as"):
            run(server, query.format("numbered"))
    finally:
        server.kill()
