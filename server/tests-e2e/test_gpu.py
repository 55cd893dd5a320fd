"""Index types of GPUs without a GPU: refused by name or, where the server was told so, built on the CPU."""

import numpy
import pytest
from harness import Server
from pymilvus import DataType, MilvusClient, MilvusException

TYPES = {
    "GPU_BRUTE_FORCE": ({}, {}, "FLAT"),
    "GPU_IVF_FLAT": ({"nlist": 16}, {"nprobe": 16}, "IVF_FLAT"),
    "GPU_IVF_PQ": ({"nlist": 16, "m": 8}, {"nprobe": 16}, "IVF_PQ"),
    "GPU_CAGRA": ({"graph_degree": 32}, {"itopk_size": 64}, "HNSW"),
}
ROWS, DIM = 3000, 16


@pytest.fixture(autouse=True)
def no_devices(monkeypatch):
    """A server that is started by a test sees no GPU, also where there is one."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def fill(client, vectors):
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=DIM)
    client.create_collection("c", schema=schema, consistency_level="Strong")
    client.insert("c", [{"id": i, "v": vector} for i, vector in enumerate(vectors)])
    client.flush("c")


def index(client, index_type, metric="L2"):
    params = client.prepare_index_params()
    params.add_index("v", index_name="v", index_type=index_type, metric_type=metric, params=TYPES[index_type][0])
    client.create_index("c", params)


@pytest.fixture
def vectors():
    return numpy.random.default_rng(5).standard_normal((ROWS, DIM)).astype(numpy.float32)


def test_without_a_gpu_its_index_types_are_refused_by_name(own_server, vectors):
    client = MilvusClient(own_server.uri)
    fill(client, vectors)
    for index_type, (_, _, equivalent) in TYPES.items():
        with pytest.raises(MilvusException) as refused:
            index(client, index_type)
        message = str(refused.value)
        assert f"invalid index type: {index_type}, it needs a GPU" in message, message
        assert f"--gpu-fallback builds {equivalent} instead" in message, message
    assert client.list_indexes("c") == []
    client.close()


def test_with_the_fallback_they_are_built_on_the_cpu_with_a_warning(tmp_path, vectors):
    server = Server(tmp_path / "data", "--gpu-fallback").start()
    try:
        client = MilvusClient(server.uri)
        fill(client, vectors)
        queries = vectors[:20]
        exact = ((queries[:, None, :] - vectors[None]) ** 2).sum(2).argsort(1)[:, :10]
        for index_type, (_, search, _) in TYPES.items():
            index(client, index_type)
            told = client.describe_index("c", "v")
            assert told["index_type"] == index_type and told["state"] == "Finished", told
            client.load_collection("c")
            found = client.search("c", list(queries), limit=10, search_params={"params": search})
            hits = sum(len({hit["id"] for hit in of_query} & set(best)) for of_query, best in zip(found, exact.tolist()))
            assert hits >= 190, (index_type, hits)
            client.release_collection("c")
            client.drop_index("c", "v")
        client.close()
        log = server.log()
        for index_type in TYPES:
            assert log.count(f"asked={index_type}") == 1, (index_type, log)
        assert "stands in for one of a GPU" in log
    finally:
        server.kill()
