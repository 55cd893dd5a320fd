"""File resources, and the models that function chains find in them, compared with what XGBoost itself has answered."""

import json
import shutil

import pytest
from harness import REPOSITORY, Server
from pymilvus import DataType, FunctionChain, FunctionChainStage, MilvusClient, MilvusException
from pymilvus.function_chain import FunctionChainExpr, col, fn

MODELS = REPOSITORY / "engine" / "trees" / "tests" / "models"
FEATURES = ["f0", "f1", "f2", "f3"]


def put(server, model):
    """Puts a model into the data directory, as a user would, and returns its path there."""
    (server.data / "file").mkdir(exist_ok=True)
    shutil.copy(MODELS / model, server.data / "file" / model)
    return f"file/{model}"


def expected(model):
    return json.loads((MODELS / f"{model.split('.')[0]}.expected.json").read_text())


def collection_of(client, rows):
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    schema.add_field("name", DataType.VARCHAR, max_length=5, nullable=True)
    for number, feature in enumerate(FEATURES):
        schema.add_field(feature, DataType.DOUBLE if number % 2 else DataType.FLOAT, nullable=True)
    indexes = client.prepare_index_params()
    indexes.add_index("v", index_type="FLAT", metric_type="L2")
    client.create_collection("rows", schema=schema, index_params=indexes, consistency_level="Strong")
    rows = [{"id": i, "v": [i, 0.0], **dict(zip(FEATURES, row))} for i, row in enumerate(rows)]
    client.insert("rows", rows)


def scores(client, model, stage=FunctionChainStage.L0_RERANK, **given):
    chain = FunctionChain(stage).map("$score", fn.xgboost(*[col(f) for f in FEATURES], model_resource=model, **given))
    hits = client.search("rows", [[0.0, 0.0]], anns_field="v", limit=100, function_chains=chain)[0]
    return [(hit["id"], hit["distance"]) for hit in hits]


@pytest.mark.parametrize("model", ["logistic_v3.ubj", "squared_v2.ubj", "ndcg_v3.ubj", "asjson_v3.json"])
def test_scores_are_those_of_xgboost(own_server, model):
    client = MilvusClient(own_server.uri)
    client.add_file_resource("ranker", put(own_server, model))
    answers = expected(model)
    collection_of(client, answers["rows"])
    for output in ("raw", "default"):
        # Of L2, smaller is better: a chain of the first stage changes the numbers, not what they mean.
        order = sorted(enumerate(answers[output]), key=lambda pair: (pair[1], pair[0]))
        found = scores(client, "ranker", output=output)
        assert dict(found) == {key: pytest.approx(score, rel=1e-5, abs=1e-5) for key, score in order}
        assert [score for _, score in found] == sorted(score for _, score in found)
    assert scores(client, "ranker") == scores(client, "ranker", output="default")
    of_last = FunctionChain(FunctionChainStage.L2_RERANK)
    of_last.map("model", fn.xgboost(*[col(f) for f in FEATURES], model_resource="ranker")).sort("model", desc=True).limit(3)
    hits = client.search("rows", [[0.0, 0.0]], anns_field="v", limit=100, function_chains=of_last)[0]
    best = sorted(range(len(answers["default"])), key=lambda i: -answers["default"][i])[:3]
    assert [answers["default"][hit["id"]] for hit in hits] == [answers["default"][i] for i in best]


def test_files_are_registered_listed_and_removed(own_server):
    client = MilvusClient(own_server.uri)
    assert client.list_file_resources() == []
    path = put(own_server, "logistic_v3.ubj")
    client.add_file_resource("a", path)
    client.add_file_resource("a", path)
    client.add_file_resource("b", path)
    listed = [(resource.name, resource.path) for resource in client.list_file_resources()]
    assert listed == [("a", path), ("b", path)]
    with pytest.raises(MilvusException, match="'a' is there already, from 'file/logistic_v3.ubj'"):
        client.add_file_resource("a", put(own_server, "squared_v3.ubj"))
    for wrong, what in [
        ("file/none.ubj", "file resource path not exist"),
        ("catalog/00000000000000000001.json", "the engine's own"),
        ("../data/file/logistic_v3.ubj", "path '../data/file/logistic_v3.ubj'"),
        ("/etc/hostname", "--allow-files"),
    ]:
        with pytest.raises(MilvusException, match=what):
            client.add_file_resource("c", wrong)
    with pytest.raises(MilvusException, match="invalid file resource name"):
        client.add_file_resource("", path)
    # What was registered stays as it was, whatever becomes of the file, and after a restart.
    answers = expected("logistic_v3.ubj")
    collection_of(client, answers["rows"])
    before = scores(client, "a")
    (own_server.data / path).write_bytes(b"something else")
    assert scores(client, "a") == before
    client.close()
    own_server.kill()
    own_server.start()
    client = MilvusClient(own_server.uri)
    assert scores(client, "a") == before
    client.remove_file_resource("a")
    client.remove_file_resource("a")
    with pytest.raises(MilvusException, match="file resource 'a' not found; there are b"):
        scores(client, "a")
    client.remove_file_resource("b")
    with pytest.raises(MilvusException, match="file resource 'b' not found; none is registered"):
        scores(client, "b")
    assert list((own_server.data / "resources").glob("*")) == []


def test_a_folder_that_statements_may_use_has_files_too(tmp_path):
    server = Server(tmp_path / "data", "--allow-files", str(MODELS)).start()
    client = MilvusClient(server.uri)
    client.add_file_resource("m", str(MODELS / "ndcg_v3.ubj"))
    with pytest.raises(MilvusException, match="is a folder; a file resource is one file|outside the folders"):
        client.add_file_resource("n", str(MODELS.parent))
    assert [resource.name for resource in client.list_file_resources()] == ["m"]
    server.stop()


def test_what_a_model_cannot_do_is_named(own_server):
    client = MilvusClient(own_server.uri)
    collection_of(client, expected("squared_v3.ubj")["rows"])
    for name in ("squared_v3.ubj", "dart_v3.ubj", "multi.ubj", "make.py"):
        client.add_file_resource(name, put(own_server, name))

    def chain(*columns, **params):
        return FunctionChain(FunctionChainStage.L0_RERANK).map("$score", FunctionChainExpr("xgboost", columns, params))

    features = tuple(col(feature) for feature in FEATURES)
    for asked, what in [
        (chain(*features, model_resource="other"), "file resource 'other' not found; there are dart_v3.ubj, make.py"),
        (chain(*features), "xgboost has no model_resource"),
        (chain(*features[:3], model_resource="squared_v3.ubj"), "xgboost has 3 columns, its model 4 features"),
        (chain(*features, model_resource="squared_v3.ubj", output="leaf"), "unknown xgboost output 'leaf'"),
        (chain(*features, model_resource="squared_v3.ubj", objective="x"), "xgboost has no parameter objective"),
        (chain(col("name"), *features[:3], model_resource="squared_v3.ubj"), "'name' is VarChar, it must be a number"),
        (chain(*features, model_resource="dart_v3.ubj"), "not supported: booster 'dart'"),
        (chain(*features, model_resource="multi.ubj"), "not supported: objective 'multi:softprob'"),
        (chain(*features, model_resource="make.py"), "file resource 'make.py' is no model"),
    ]:
        with pytest.raises(MilvusException, match=what):
            client.search("rows", [[0.0, 0.0]], anns_field="v", limit=3, function_chains=asked)
