"""Fixtures: a server for the whole run, a server of one's own, a client, and collections that clean up after themselves."""

from __future__ import annotations

import itertools
import os
import pathlib
import subprocess
import sys
import warnings

os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import pytest  # noqa: E402
from harness import RunningServer, Server, eventually, free_port  # noqa: E402
from pymilvus import DataType, MilvusClient, MilvusException  # noqa: E402

_names = itertools.count()

warnings.filterwarnings("ignore", category=DeprecationWarning)
warnings.filterwarnings("ignore", message=".*deprecated.*")


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """The server that all tests share. They keep apart by collection names."""
    if uri := os.environ.get("ELANUS_E2E_URI"):
        yield RunningServer(uri)
        return
    shared = Server(tmp_path_factory.mktemp("data")).start()
    yield shared
    running = shared.process is not None and shared.process.poll() is None
    assert running, f"the shared server ended during the run\n{shared.log()}"
    assert shared.stop() == 0, f"the shared server did not exit 0 on SIGTERM\n{shared.log()}"


@pytest.fixture
def own_server(tmp_path):
    """A server for one test, which may stop, kill and restart it."""
    if os.environ.get("ELANUS_E2E_URI"):
        pytest.skip("ELANUS_E2E_URI names a server that is not ours to restart")
    own = Server(tmp_path / "data").start()
    yield own
    own.kill()


@pytest.fixture(scope="session")
def client(server):
    shared = MilvusClient(server.uri)
    yield shared
    shared.close()


@pytest.fixture(scope="session")
def peer(tmp_path_factory):
    """`milvus-lite`, another server of the protocol, to compare answers with."""
    program = pathlib.Path(sys.executable).with_name("milvus-lite")
    port, folder = free_port(), tmp_path_factory.mktemp("peer")
    with open(folder / "log", "w") as log:
        process = subprocess.Popen([str(program), "server", "--data-dir", str(folder / "data"), "--port", str(port)], stdout=log, stderr=log)
    connected = []

    def ready():
        assert process.poll() is None, (folder / "log").read_text()
        try:
            connected.append(MilvusClient(f"http://127.0.0.1:{port}", timeout=5))
        except MilvusException:
            return False
        return True

    eventually(ready, "milvus-lite answers", 60)
    yield connected[0]
    connected[0].close()
    process.kill()
    process.wait()


@pytest.fixture
def name(client, request):
    """A fresh collection name; the collection of that name is dropped afterwards."""
    stem = request.node.name.split("[")[0][:60]
    fresh = f"{stem}_{os.getpid()}_{next(_names)}"
    yield fresh
    for alias in client.list_aliases(fresh)["aliases"] if client.has_collection(fresh) else []:
        client.drop_alias(alias)
    client.drop_collection(fresh)


@pytest.fixture
def make(client, name):
    """Makes a collection of the fixture `name` from field descriptions.

    `make(id=INT64, v=4, title=("VARCHAR", dict(max_length=20)), ...)`: the first field is the primary key, a plain
    integer is a FLOAT_VECTOR of that dimension. Vector fields get `index` (default FLAT) with `metric`, and the
    collection is loaded, unless `load=False`.
    """

    def build(*, metric="L2", index="FLAT", params=None, load=True, dynamic=False, collection=None, **fields):
        schema = client.create_schema(enable_dynamic_field=dynamic)
        vectors = []
        for position, (field, spec) in enumerate(fields.items()):
            options = {}
            if isinstance(spec, tuple):
                spec, options = spec[0], dict(spec[1])
            if isinstance(spec, int) and not isinstance(spec, DataType):
                options["dim"] = spec
                spec = DataType.FLOAT_VECTOR
            if isinstance(spec, str):
                spec = DataType[spec]
            if spec == DataType.FLOAT_VECTOR:
                vectors.append(field)
            schema.add_field(field, spec, is_primary=position == 0, **options)
        collection = collection or name
        client.create_collection(collection, schema=schema, consistency_level="Strong")
        if load:
            indexes = client.prepare_index_params()
            for field in vectors:
                indexes.add_index(field_name=field, index_type=index, metric_type=metric, params=params or {})
            client.create_index(collection, indexes)
            client.load_collection(collection)
        return collection

    return build
