"""A limit on the memory of index builds: what may take more is not built, says so, and is searched without an index."""

import numpy
import pytest
from harness import Server, eventually
from pymilvus import DataType, MilvusClient, MilvusException

ROWS, DIM = 4000, 64


def tell(client):
    return client.describe_index("c", "v")


def test_a_build_that_may_take_too_much_fails_with_both_sizes_and_searches_go_on(tmp_path):
    data, vectors = tmp_path / "data", numpy.random.default_rng(7).standard_normal((ROWS, DIM)).astype(numpy.float32)

    def nearest(client):
        hits = client.search("c", vectors[[7, 3999]], limit=1, search_params={"params": {"ef": 64}}, output_fields=["id"])
        return [hit[0]["id"] for hit in hits]

    server = Server(data, "--build-memory-limit", "1MiB").start()
    try:
        client = MilvusClient(server.uri)
        schema = client.create_schema()
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("v", DataType.FLOAT_VECTOR, dim=DIM)
        client.create_collection("c", schema=schema, consistency_level="Strong")
        client.insert("c", [{"id": i, "v": vector} for i, vector in enumerate(vectors)])
        client.flush("c")
        indexes = client.prepare_index_params()
        indexes.add_index("v", index_type="HNSW", metric_type="L2")
        with pytest.raises(MilvusException, match=r"while it is built, index builds may take 1048576"):
            client.create_index("c", indexes)
        assert tell(client)["state"] == "Failed"
        client.load_collection("c")
        assert nearest(client) == [7, 3999]
        client.close()
        assert server.stop() == 0

        # Enough of it: the same index is built.
        server = Server(data, "--build-memory-limit", "64MiB").start()
        client = MilvusClient(server.uri)
        eventually(lambda: tell(client)["state"] == "Finished" and tell(client)["indexed_rows"] == ROWS, "the index is built", 60)
        client.load_collection("c")
        assert nearest(client) == [7, 3999]
        client.close()
    finally:
        server.kill()
