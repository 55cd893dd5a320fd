"""What clients take for granted without asking: default index type, headers, keep-alive pings, telemetry, other languages."""

import json
import os
import pathlib
import shutil
import subprocess
import threading

import grpc
import pytest
from harness import eventually
from pymilvus import DataType, MilvusClient
from pymilvus.grpc_gen import common_pb2, milvus_pb2, milvus_pb2_grpc

HERE = pathlib.Path(__file__).parent


@pytest.fixture
def channel(server):
    with grpc.insecure_channel(server.address) as raw:
        yield raw


def test_an_index_without_a_type_is_autoindex(client, name):
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=4)
    client.create_collection(name, schema=schema)
    indexes = client.prepare_index_params()
    indexes.add_index(field_name="v")
    client.create_index(name, indexes)
    index = client.describe_index(name, "v")
    assert (index["index_type"], index["metric_type"], index["state"]) == ("AUTOINDEX", "COSINE", "Finished")
    client.load_collection(name)
    client.insert(name, [{"id": 1, "v": [1.0, 2.0, 3.0, 4.0]}])
    assert client.search(name, [[1.0, 2.0, 3.0, 4.0]], limit=1)[0][0]["distance"] == pytest.approx(1.0)


def test_flat_and_nested_search_parameters_mean_the_same(make, client, name):
    make(id="INT64", v=4, index="HNSW", params={"M": 8, "efConstruction": 64})
    client.insert(name, [{"id": i, "v": [float(i), 0.0, 0.0, 0.0]} for i in range(50)])
    flat = client.search(name, [[7.2, 0.0, 0.0, 0.0]], limit=3, search_params={"metric_type": "L2", "ef": 50})
    nested = client.search(
        name, [[7.2, 0.0, 0.0, 0.0]], limit=3, search_params={"metric_type": "L2", "params": {"ef": 50}}
    )
    assert [hit["id"] for hit in flat[0]] == [hit["id"] for hit in nested[0]] == [7, 8, 6]


def test_flat_and_nested_index_parameters_mean_the_same(channel, make, client, name):
    """pymilvus nests them, the Go client sends them flat."""
    make(id="INT64", v=4, w=4, load=False)
    stub = milvus_pb2_grpc.MilvusServiceStub(channel)

    def create(field, **pairs):
        pairs = [common_pb2.KeyValuePair(key=key, value=value) for key, value in pairs.items()]
        return stub.CreateIndex(
            milvus_pb2.CreateIndexRequest(collection_name=name, field_name=field, extra_params=pairs)
        )

    flat = create("v", index_type="HNSW", metric_type="L2", M="12", efConstruction="77")
    nested = create("w", index_type="HNSW", metric_type="L2", params=json.dumps({"M": 12, "efConstruction": 77}))
    assert (flat.code, nested.code) == (0, 0), (flat.reason, nested.reason)
    for field in ("v", "w"):
        index = client.describe_index(name, field)
        assert (str(index["M"]), str(index["efConstruction"])) == ("12", "77")


def test_unknown_search_parameters_are_ignored(make, client, name):
    make(id="INT64", v=4)
    client.insert(name, [{"id": 1, "v": [0.0, 0.0, 0.0, 1.0]}])
    params = {"params": {"search_k": 10, "level": 3, "something": "else"}}
    assert len(client.search(name, [[0.0, 0.0, 0.0, 1.0]], limit=1, search_params=params)[0]) == 1


def test_credentials_are_accepted_while_authentication_is_off(server):
    for how in ({"token": "root:Milvus"}, {"user": "root", "password": "Milvus"}, {"token": "an-api-key"}):
        known = MilvusClient(server.uri, **how)
        assert isinstance(known.list_collections(), list)
        known.close()


def test_the_database_can_come_from_the_metadata(channel, client, name):
    client.create_database(name)
    stub = milvus_pb2_grpc.MilvusServiceStub(channel)
    try:
        inside = stub.ShowCollections(milvus_pb2.ShowCollectionsRequest(), metadata=[("dbname", name)])
        assert (inside.status.code, list(inside.collection_names)) == (0, [])
        missing = stub.ShowCollections(milvus_pb2.ShowCollectionsRequest(), metadata=[("dbname", "nowhere")])
        assert missing.status.code == 800
    finally:
        client.drop_database(name)


def test_pings_on_an_idle_connection_are_not_punished(server):
    """A client that pings often without calls would get GOAWAY "too_many_pings" from a strict server.

    gRPC clients of Milvus ping every 10 s. Here they ping every second, so that five pings fit into a short test; the
    channel must stay the same one, ready, and answer.
    """
    options = [
        ("grpc.keepalive_time_ms", 1000),
        ("grpc.keepalive_timeout_ms", 1000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.min_time_between_pings_ms", 500),
    ]
    with grpc.insecure_channel(server.address, options=options) as channel:
        stub = milvus_pb2_grpc.MilvusServiceStub(channel)
        assert stub.GetVersion(milvus_pb2.GetVersionRequest()).status.code == 0
        left_ready = threading.Event()
        states = []

        def watch(state):
            states.append(state)
            if grpc.ChannelConnectivity.READY in states and state != grpc.ChannelConnectivity.READY:
                left_ready.set()

        channel.subscribe(watch, try_to_connect=True)
        eventually(lambda: grpc.ChannelConnectivity.READY in states, "the channel is ready")
        assert not left_ready.wait(timeout=5.0), f"the connection was dropped: {states}"
        assert stub.GetVersion(milvus_pb2.GetVersionRequest()).status.code == 0


def test_two_clients_share_nothing(server):
    one, two = MilvusClient(server.uri), MilvusClient(server.uri)
    one.close()
    assert isinstance(two.list_collections(), list)
    two.close()


def test_connect_tells_who_answers(channel):
    stub = milvus_pb2_grpc.MilvusServiceStub(channel)
    info = common_pb2.ClientInfo(sdk_type="Python", sdk_version="3.0.2", user="somebody", host="here")
    first = stub.Connect(milvus_pb2.ConnectRequest(client_info=info))
    second = stub.Connect(milvus_pb2.ConnectRequest(client_info=info))
    assert first.status.code == 0 and first.server_info.build_tags
    assert first.identifier > 0 and first.identifier != second.identifier
    version = stub.GetVersion(milvus_pb2.GetVersionRequest())
    assert version.status.code == 0 and version.version
    health = stub.CheckHealth(milvus_pb2.CheckHealthRequest())
    assert health.isHealthy


def test_timestamps_grow(channel):
    stub = milvus_pb2_grpc.MilvusServiceStub(channel)
    stamps = [stub.AllocTimestamp(milvus_pb2.AllocTimestampRequest()).timestamp for _ in range(100)]
    assert stamps == sorted(set(stamps))
    assert stamps[0] >> 18 > 1_600_000_000_000, "milliseconds of the wall clock in the upper bits"


def test_telemetry_is_tolerated(channel):
    """Newer SDKs send heartbeats on their own. A server without telemetry answers them with any status, not by hanging up."""
    telemetry = milvus_pb2_grpc.ClientTelemetryServiceStub(channel)
    try:
        answer = telemetry.ClientHeartbeat(milvus_pb2.ClientHeartbeatRequest(report_timestamp=1), timeout=10)
        assert answer.status.code in (0, 10)
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.UNIMPLEMENTED
    stub = milvus_pb2_grpc.MilvusServiceStub(channel)
    assert stub.GetVersion(milvus_pb2.GetVersionRequest()).status.code == 0


def test_what_is_not_there_says_so(channel):
    """Calls that are part of the protocol but not of this server: Milvus' own code for that, and the name of the call."""
    stub = milvus_pb2_grpc.MilvusServiceStub(channel)
    for call, request in [
        (stub.CreateSnapshot, milvus_pb2.CreateSnapshotRequest()),
        (stub.CalcDistance, milvus_pb2.CalcDistanceRequest()),
        (stub.CreateResourceGroup, milvus_pb2.CreateResourceGroupRequest()),
        (stub.Import, milvus_pb2.ImportRequest()),
    ]:
        try:
            answer = call(request, timeout=10)
            status = getattr(answer, "status", answer)
            code, text = status.code, status.reason
            assert code in (10, 3000), (code, text)
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.UNIMPLEMENTED
            text = error.details()
        assert "not supported" in text, text


def node_modules() -> pathlib.Path | None:
    """`$ELANUS_NODE_MODULES` (set by `./run`), else the folder beside `node/package.json`."""
    folder = pathlib.Path(os.environ.get("ELANUS_NODE_MODULES") or HERE / "node" / "node_modules")
    return folder if (folder / "@zilliz").is_dir() else None


def test_node_sdk_quick_start(server, client, name):
    node = shutil.which("node")
    if not node:
        pytest.skip("node is not installed")
    modules = node_modules()
    if not modules:
        pytest.skip("the Node SDK is not installed: start the tests with ./run, or `npm ci` in node/")
    done = subprocess.run(
        [node, str(HERE / "node" / "quick_start.js"), server.address, name],
        env={**os.environ, "NODE_PATH": str(modules)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    assert answer["inserted"] == "3"
    assert [hit["id"] for hit in answer["nearest"]] == ["2", "3", "1"]
    assert answer["nearest"][0]["color"] == "green"
    assert answer["filtered"] == ["1"]
    assert answer["rows"] == "3"
