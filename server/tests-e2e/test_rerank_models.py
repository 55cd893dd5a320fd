"""Rerankers by models: a service beside the server scores texts. Here it counts how often the words of the query are in them."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from harness import Server
from pymilvus import AnnSearchRequest, DataType, Function, FunctionChain, FunctionChainStage, FunctionType, MilvusClient, MilvusException
from pymilvus.function_chain import col, fn

TEXTS = ["kites fly", "a kite is a kite", "milvus is a kite", "", "the sea", "kite kite kite", None, "see the kite"]


def score(query, text):
    return float(sum((text or "").split().count(word) for word in query.split()))


class Service(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, body))
        if self.path == "/hosted":
            self.server.keys.append(self.headers["Authorization"])
        texts = body.get("texts", body.get("documents"))
        scores = [(index, score(body["query"], text)) for index, text in enumerate(texts)]
        scores.sort(key=lambda pair: -pair[1])
        if "fail" in body["query"]:
            return self.reply(503, {"error": "the model is away"})
        if "texts" in body:
            return self.reply(200, [{"index": index, "score": value} for index, value in scores])
        return self.reply(200, {"results": [{"index": index, "relevance_score": value} for index, value in scores]})

    def reply(self, status, answer):
        answer = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def service():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    server.asked, server.keys = [], []
    server.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


@pytest.fixture(scope="module")
def client(service, tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("data"), "--allow-services", service.url).start()
    client = MilvusClient(server.uri)
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    schema.add_field("w", DataType.FLOAT_VECTOR, dim=2)
    schema.add_field("text", DataType.VARCHAR, max_length=50, nullable=True)
    indexes = client.prepare_index_params()
    indexes.add_index("v", index_type="FLAT", metric_type="L2")
    indexes.add_index("w", index_type="FLAT", metric_type="IP")
    client.create_collection("texts", schema=schema, index_params=indexes, consistency_level="Strong")
    client.insert("texts", [{"id": i, "v": [i, 0.0], "w": [0.0, i], "text": text} for i, text in enumerate(TEXTS)])
    yield client
    server.stop()


def ranker(service, *, fields=("text",), **params):
    params = {"reranker": "model", "provider": "tei", "queries": ["kite"], "endpoint": service.url, **params}
    return Function(
        name="m", input_field_names=list(fields), function_type=FunctionType.RERANK,
        params={name: value for name, value in params.items() if value is not None},
    )  # fmt: skip


def best(query, ids=range(len(TEXTS))):
    return sorted(((i, score(query, TEXTS[i])) for i in ids), key=lambda pair: (-pair[1], pair[0]))


def found(client, data, limit=len(TEXTS), **given):
    answers = client.search("texts", data, anns_field="v", limit=limit, **given)
    return [[(hit["id"], hit["distance"]) for hit in hits] for hits in answers]


@pytest.mark.parametrize("provider", ["tei", "vllm"])
def test_the_model_scores_and_orders(client, service, provider):
    service.asked.clear()
    function = ranker(service, provider=provider, queries=["kite", "sea milvus"], max_client_batch_size=3)
    assert found(client, [[0.0, 0.0], [7.0, 0.0]], ranker=function) == [best("kite"), best("sea milvus")]
    assert [len(body.get("texts", body.get("documents"))) for _, body in service.asked] == [3, 3, 2, 3, 3, 2]
    assert {path for path, _ in service.asked} == {"/rerank"}
    # The model sees what the search has found, and no other rows.
    assert found(client, [[0.0, 0.0]], limit=3, ranker=ranker(service, provider=provider)) == [best("kite", range(3))]
    # Of nothing found, nothing is asked.
    service.asked.clear()
    assert found(client, [[0.0, 0.0]], filter="id > 100", ranker=ranker(service)) == [[]]
    assert service.asked == []


def test_what_the_service_is_told(client, service):
    service.asked.clear()
    found(client, [[0.0, 0.0]], ranker=ranker(service, truncate=True, truncation_direction="Left"))
    found(client, [[0.0, 0.0]], ranker=ranker(service, provider="vllm", truncate_prompt_tokens=256))
    tei, vllm = [body for _, body in service.asked]
    texts = [text or "" for text in TEXTS]
    assert tei == {"query": "kite", "texts": texts, "truncate": True, "truncation_direction": "Left"}
    assert vllm == {"query": "kite", "documents": texts, "truncate_prompt_tokens": 256}


def test_a_chain_asks_the_model_too(client, service):
    chain = (
        FunctionChain(FunctionChainStage.L2_RERANK)
        .map("model", fn.rerank_model(col("text"), queries=["kite"], provider="tei", endpoint=service.url, max_client_batch_size=100))
        .map("$score", fn.num_combine(col("model"), col("$score"), mode="weighted", weights=[10, 1]))
        .sort(col("$score"), desc=True)
    )
    expected = sorted(((i, 10 * score("kite", text) + i * i) for i, text in enumerate(TEXTS)), key=lambda pair: (-pair[1], pair[0]))
    assert found(client, [[0.0, 0.0]], function_chains=chain) == [expected]


def test_a_hybrid_search_is_reranked(client, service):
    arms = [
        AnnSearchRequest([[0.0, 0.0]], "v", {"metric_type": "L2"}, limit=3),
        AnnSearchRequest([[0.0, 1.0]], "w", {"metric_type": "IP"}, limit=3),
    ]
    hits = client.hybrid_search("texts", arms, ranker=ranker(service), limit=10)[0]
    assert [(hit["id"], hit["distance"]) for hit in hits] == best("kite", [0, 1, 2, 5, 6, 7])


def test_mistakes_are_named(client, service):
    for function, what in [
        (ranker(service, provider="zilliz"), "not supported: rerank provider zilliz"),
        (ranker(service, provider="acme"), "unknown rerank model provider:acme; allowed are tei, vllm, sglang, cohere"),
        (ranker(service, provider="cohere", endpoint=None), "cohere rerank model name is required"),
        (ranker(service, provider="cohere", endpoint=None, model_name="m"), "'https://api.cohere.com/v2/rerank' may not be asked"),
        (ranker(service, provider=None), "rerank function lost params provider"),
        (ranker(service, queries=None), "rerank function lost params queries"),
        (ranker(service, queries=[]), "rerank function lost params queries"),
        (ranker(service, queries="kite"), r"Parse rerank params \[queries\] failed"),
        (ranker(service, queries=["a", "b"]), r"nq must equal to queries size, but got nq \[1\], queries size \[2\]"),
        (ranker(service, endpoint=None), "rerank function lost params endpoint"),
        (ranker(service, endpoint="nowhere"), "'nowhere' is no address of a service"),
        (ranker(service, endpoint="http://127.0.0.1:1"), "'http://127.0.0.1:1' may not be asked: allowed with --allow-services"),
        (ranker(service, max_client_batch_size=0), "must be greater than 0"),
        (ranker(service, max_client_batch_size="x"), "is not a valid number"),
        (ranker(service, truncation_direction="Up"), r"only supports \[Left/Right\]"),
        (ranker(service, truncate_prompt_tokens=1), "tei has no parameter truncate_prompt_tokens"),
        (ranker(service, credential="k"), "credential 'k' is not in the server's settings"),
        (ranker(service, integration_id="k"), "not supported: integration_id of rerank providers"),
        (ranker(service, tempo=1), "unknown parameter tempo"),
        (ranker(service, fields=("text", "id")), r"only supports single input, but gets \[text id\]"),
        (ranker(service, fields=("id",)), "'id' is Int64, it must be VARCHAR or TEXT"),
        (ranker(service, queries=["fail"]), "status 503 Service Unavailable: .*the model is away"),
    ]:
        with pytest.raises(MilvusException, match=what):
            found(client, [[0.0, 0.0]], ranker=function)


def test_without_leave_no_service_is_asked(own_server, service):
    client = MilvusClient(own_server.uri)
    client.create_collection("c", dimension=2, consistency_level="Strong")
    client.insert("c", [{"id": 1, "vector": [1.0, 0.0]}])
    service.asked.clear()
    with pytest.raises(MilvusException, match="may not be asked: the server allows those given with --allow-services"):
        client.search("c", [[1.0, 0.0]], limit=1, ranker=ranker(service))
    assert service.asked == []


def test_a_hosted_provider_gets_its_key(service, tmp_path):
    settings = tmp_path / "elanus.toml"
    settings.write_text(f"""
allow_services = ["{service.url}"]
[credentials]
team_a = "key of a"
team_b = "key of b"
[rerank.cohere]
url = "{service.url}/hosted"
credential = "team_a"
[rerank.voyageai]
enable = false
""")
    server = Server(tmp_path / "data", "--config", str(settings)).start()
    client = MilvusClient(server.uri)
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    schema.add_field("text", DataType.VARCHAR, max_length=50)
    indexes = client.prepare_index_params()
    indexes.add_index("v", index_type="FLAT", metric_type="L2")
    client.create_collection("texts", schema=schema, index_params=indexes, consistency_level="Strong")
    client.insert("texts", [{"id": i, "v": [i, 0.0], "text": text or ""} for i, text in enumerate(TEXTS)])
    service.asked.clear()
    hosted = {"provider": "cohere", "endpoint": None, "model_name": "rerank-v3.5"}
    assert found(client, [[0.0, 0.0]], ranker=ranker(service, **hosted, max_tokens_per_doc=100)) == [best("kite")]
    assert found(client, [[0.0, 0.0]], ranker=ranker(service, **hosted, credential="team_b")) == [best("kite")]
    assert service.keys == ["Bearer key of a", "Bearer key of b"]
    (path, first), (_, second) = service.asked
    texts = [text or "" for text in TEXTS]
    assert path == "/hosted"
    assert first == {"model": "rerank-v3.5", "query": "kite", "documents": texts, "max_tokens_per_doc": 100}
    assert second == {"model": "rerank-v3.5", "query": "kite", "documents": texts}
    with pytest.raises(MilvusException, match=r"rerank provider: \[voyageai\] is disabled"):
        found(client, [[0.0, 0.0]], ranker=ranker(service, **{**hosted, "provider": "voyageai"}))
    server.stop()
