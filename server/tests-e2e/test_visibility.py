"""What is visible when: deletes, upserts, duplicates, counts, pages, load and release, crashes under load."""

import random
import threading

import grpc
import numpy as np
import pytest
from harness import eventually
from pymilvus import MilvusClient, MilvusException

V = [1.0, 0.0]


def count(client, name, text="", **options):
    return client.query(name, filter=text, output_fields=["count(*)"], **options)[0]["count(*)"]


def keys(client, name, text="id >= 0", **options):
    return [row["id"] for row in client.query(name, filter=text, output_fields=["id"], **options)]


def test_a_write_is_visible_to_the_next_read(make, client, name):
    make(id="INT64", v=2)
    for i in range(20):
        client.insert(name, [{"id": i, "v": V}])
        assert count(client, name) == i + 1
        client.upsert(name, [{"id": i, "v": [float(i), 1.0]}])
        assert client.search(name, [[float(i), 1.0]], limit=1)[0][0]["distance"] == 0.0
    for i in range(20):
        client.delete(name, ids=[i])
        assert keys(client, name) == list(range(i + 1, 20))


def test_a_write_is_visible_to_another_client(server, make, client, name):
    make(id="INT64", v=2)
    other = MilvusClient(server.uri)
    client.insert(name, [{"id": 1, "v": V}])
    for level in ("Strong", "Session", "Bounded", "Eventually"):
        assert len(other.query(name, filter="id == 1", consistency_level=level)) == 1
    client.delete(name, ids=[1])
    assert len(other.query(name, filter="id == 1")) == 0
    other.close()


@pytest.mark.parametrize("flush", [False, True], ids=["growing", "sealed"])
def test_a_deleted_row_is_not_found_by_anything(make, client, name, flush):
    make(id="INT64", v=2, index="HNSW", params={"M": 8, "efConstruction": 40})
    client.insert(name, [{"id": i, "v": [float(i), 0.0]} for i in range(500)])
    if flush:
        client.flush(name)
    client.delete(name, ids=list(range(0, 500, 2)))
    assert count(client, name) == 250
    assert keys(client, name) == list(range(1, 500, 2))
    assert len(client.get(name, ids=[2])) == 0
    hits = client.search(name, [[100.0, 0.0]], limit=5)[0]
    assert sorted(hit["id"] for hit in hits) in ([95, 97, 99, 101, 103], [97, 99, 101, 103, 105])
    client.insert(name, [{"id": 100, "v": [100.0, 0.0]}])
    assert client.search(name, [[100.0, 0.0]], limit=1)[0][0]["id"] == 100, "a key can be used again"


def test_insert_does_not_look_for_duplicates(make, client, name):
    make(id="INT64", v=2, n="INT64")
    client.insert(name, [{"id": 1, "v": V, "n": 1}])
    client.insert(name, [{"id": 1, "v": V, "n": 2}])
    assert count(client, name) >= 1
    client.upsert(name, [{"id": 1, "v": V, "n": 3}])
    assert [dict(row) for row in client.query(name, filter="id == 1", output_fields=["n"])] == [{"id": 1, "n": 3}]
    client.insert(name, [{"id": 1, "v": V, "n": 4}])
    client.delete(name, ids=[1])
    assert count(client, name) == 0


def test_delete_counts(make, client, name):
    make(id="INT64", v=2)
    client.insert(name, [{"id": i, "v": V} for i in range(10)])
    answer = client.delete(name, filter="id < 4")
    assert (answer["delete_count"] if isinstance(answer, dict) else len(answer)) == 4


def test_counts_are_exact(make, client, name):
    make(id="INT64", v=2, n="INT64")
    client.create_partition(name, "p")
    client.insert(name, [{"id": i, "v": V, "n": i % 10} for i in range(1000)])
    client.insert(name, [{"id": i, "v": V, "n": 3} for i in range(1000, 1100)], partition_name="p")
    client.flush(name)
    client.upsert(name, [{"id": 5, "v": V, "n": 3}])
    client.delete(name, filter="n == 0")
    assert count(client, name) == 1000
    assert count(client, name, "n == 3") == 201
    assert count(client, name, partition_names=["p"]) == 100
    assert count(client, name, "id > 100000") == 0


def test_pages_of_a_query(make, client, name):
    make(id="INT64", v=2)
    shuffled = list(range(100))
    random.Random(4).shuffle(shuffled)
    client.insert(name, [{"id": i, "v": V} for i in shuffled[:60]])
    client.flush(name)
    client.insert(name, [{"id": i, "v": V} for i in shuffled[60:]])
    pages = [keys(client, name, limit=30, offset=offset) for offset in range(0, 120, 30)]
    assert pages == [list(range(0, 30)), list(range(30, 60)), list(range(60, 90)), list(range(90, 100))]
    assert keys(client, name, "", limit=5) == [0, 1, 2, 3, 4]
    assert keys(client, name, "id > 50", limit=3, offset=1) == [52, 53, 54]


def test_pages_of_a_search(make, client, name):
    make(id="INT64", v=2)
    client.insert(name, [{"id": i, "v": [float(i), 0.0]} for i in range(50)])
    pages = [client.search(name, [[0.0, 0.0], [49.0, 0.0]], limit=20, offset=offset) for offset in (0, 20, 40)]
    assert [hit["id"] for page in pages for hit in page[0]] == list(range(50))
    assert [hit["id"] for page in pages for hit in page[1]] == list(range(49, -1, -1))
    inside = client.search(name, [[0.0, 0.0]], limit=20, search_params={"offset": 20})
    assert [hit["id"] for hit in inside[0]] == list(range(20, 40))


def test_many_queries_at_once(make, client, name):
    make(id="INT64", v=2)
    client.insert(name, [{"id": i, "v": [float(i), 0.0]} for i in range(300)])
    found = client.search(name, [[float(i), 0.0] for i in range(300)], limit=2)
    assert [hits[0]["id"] for hits in found] == list(range(300))


def test_rounding_of_scores(make, client, name):
    make(id="INT64", v=2, metric="COSINE")
    client.insert(name, [{"id": 1, "v": [1.0, 2.0]}])
    assert client.search(name, [[1.0, 0.0]], limit=1, round_decimal=3)[0][0]["distance"] == pytest.approx(0.447, abs=1e-6)


def test_load_and_release(make, client, name):
    make(id="INT64", v=2)
    client.insert(name, [{"id": 1, "v": V}])
    client.release_collection(name)
    assert str(client.get_load_state(name)["state"]) == "NotLoad"
    with pytest.raises(MilvusException, match="not loaded"):
        client.query(name, filter="id > 0")
    client.insert(name, [{"id": 2, "v": V}])
    client.load_collection(name)
    assert str(client.get_load_state(name)["state"]) == "Loaded"
    assert keys(client, name) == [1, 2]


def test_a_partial_load_names_the_key_and_a_vector(make, client, name):
    make(id="INT64", v=2, a="INT64", b="INT64", load=False)
    client.insert(name, [{"id": 1, "v": V, "a": 2, "b": 3}])
    indexes = client.prepare_index_params()
    indexes.add_index("v", index_type="HNSW", metric_type="L2")
    if not client.list_indexes(name):
        client.create_index(name, indexes)
    with pytest.raises(MilvusException, match="does not contain primary key field id"):
        client.load_collection(name, load_fields=["v", "a"])
    with pytest.raises(MilvusException, match="does not contain any vector field"):
        client.load_collection(name, load_fields=["id", "a"])
    client.load_collection(name, load_fields=["id", "v", "a"])
    assert str(client.get_load_state(name)["state"]) == "Loaded"
    assert client.query(name, filter="b == 3", output_fields=["a"])[0] == {"id": 1, "a": 2}


def test_an_index_can_be_replaced(make, client, name):
    make(id="INT64", v=2, index="HNSW", params={"M": 8, "efConstruction": 40})
    client.insert(name, [{"id": i, "v": [float(i), 0.0]} for i in range(100)])
    client.flush(name)
    client.release_collection(name)
    client.drop_index(name, "v")
    assert client.list_indexes(name) == []
    indexes = client.prepare_index_params()
    indexes.add_index("v", index_type="IVF_FLAT", metric_type="COSINE", params={"nlist": 4})
    client.create_index(name, indexes)
    client.load_collection(name)
    index = client.describe_index(name, "v")
    assert (index["index_type"], index["metric_type"], str(index["nlist"])) == ("IVF_FLAT", "COSINE", "4")
    assert client.search(name, [[5.0, 0.0]], limit=1)[0][0]["distance"] == pytest.approx(1.0)


def test_large_limit(make, client, name):
    make(id="INT64", v=2, index="HNSW", params={"M": 8, "efConstruction": 40})
    rows = [{"id": i, "v": [float(i), 0.0]} for i in range(16384)]
    client.insert(name, rows)
    hits = client.search(name, [[0.0, 0.0]], limit=16384, search_params={"params": {"ef": 16384}})[0]
    assert [hit["id"] for hit in hits] == list(range(16384))
    assert len(client.query(name, filter="id >= 0", limit=16384, output_fields=["id"])) == 16384


def test_a_message_near_the_limit_of_64_mib(make, client, name):
    make(id="INT64", v=1024)
    rows = 15_000
    vector = [0.5] * 1024
    assert client.insert(name, [{"id": i, "v": vector} for i in range(rows)])["insert_count"] == rows
    assert count(client, name) == rows
    with pytest.raises(grpc.RpcError, match="the limit is: 67108864 bytes|larger than max") as refused:
        client.insert(name, [{"id": i, "v": vector} for i in range(17_000)])
    assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, "others are tried again for minutes"
    assert count(client, name) == rows


def test_a_large_answer(make, client, name):
    make(id="INT64", v=1024)
    vector = [0.25] * 1024
    client.insert(name, [{"id": i, "v": vector} for i in range(10_000)])
    rows = client.query(name, filter="id >= 0", output_fields=["v"], limit=10_000)
    assert len(rows) == 10_000 and list(rows[9_999]["v"]) == vector


def test_an_answer_that_is_too_large_is_refused(make, client, name):
    """Milvus' limit on an answer is 100 MiB; the rows themselves stay within reach, some at a time."""
    make(id="INT64", v=32_768)
    vector = np.full(32_768, 0.5, np.float32)
    for start in (0, 450):
        client.insert(name, [{"id": i, "v": vector} for i in range(start, start + 450)])
    for ask in (
        lambda: client.query(name, filter="id >= 0", output_fields=["v"]),
        lambda: client.search(name, [vector], limit=900, output_fields=["v"]),
    ):
        with pytest.raises(MilvusException, match="results exceed the maxOutputSize Limit 104857600"):
            ask()
    assert len(client.query(name, filter="id >= 0", output_fields=["id"])) == 900
    assert len(client.query(name, filter="id >= 895", output_fields=["v"])) == 5
    assert len(client.search(name, [vector], limit=900, filter="id >= 895", output_fields=["v"])[0]) == 5


def test_concurrent_writers_and_readers(server, make, client, name):
    make(id="INT64", v=2)
    failures = []

    def guarded(work):
        own = MilvusClient(server.uri)
        try:
            work(own)
        except Exception as error:  # noqa: BLE001: reported by the main thread
            failures.append(repr(error))
        finally:
            own.close()

    def write(first):
        def work(own):
            for batch in range(10):
                start = first + batch * 50
                own.insert(name, [{"id": i, "v": [float(i), 0.0]} for i in range(start, start + 50)])

        return work

    def read(own):
        seen = 0
        for _ in range(40):
            now = count(own, name)
            assert now >= seen and now % 50 == 0, "a batch is visible as a whole"
            seen = now

    jobs = [threading.Thread(target=guarded, args=(work,)) for work in [*(write(w * 1000) for w in range(4)), read, read]]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert failures == []
    assert count(client, name) == 2000


def reconnected(server) -> MilvusClient:
    """A client after a kill: pymilvus shares channels by address, and a broken one may need a second try."""
    clients = []

    def answers():
        assert server.process.poll() is None, f"the server ended\n{server.log()}"
        try:
            clients.append(MilvusClient(server.uri))
            return clients[-1].list_collections() is not None
        except MilvusException:
            return False

    eventually(answers, "a client connects after the restart", 60)
    return clients[-1]


def test_acknowledged_rows_survive_kill_9_under_load(own_server):
    """Three rounds of inserting from two clients until the server is killed in the middle."""
    client = MilvusClient(own_server.uri)
    client.create_collection("load", dimension=4)
    acknowledged: set[int] = set()
    attempted: list[range] = []
    lock = threading.Lock()
    next_key = [0]

    def write(stop, started):
        own = MilvusClient(own_server.uri)
        while not stop.is_set():
            with lock:
                batch = range(next_key[0], next_key[0] + 20)
                next_key[0] += 20
                attempted.append(batch)
            try:
                own.insert("load", [{"id": i, "vector": [float(i), 0.0, 0.0, 1.0]} for i in batch], timeout=5)
            except Exception:  # noqa: BLE001: the server is being killed, that is the test
                return
            with lock:
                acknowledged.update(batch)
                if len(acknowledged) > 400 * started[0]:
                    started[1].set()

    for round_number in range(1, 4):
        stop, enough = threading.Event(), threading.Event()
        writers = [threading.Thread(target=write, args=(stop, (round_number, enough))) for _ in range(2)]
        for writer in writers:
            writer.start()
        assert enough.wait(timeout=120), "rows are acknowledged"
        own_server.kill()
        stop.set()
        for writer in writers:
            writer.join()
        own_server.start()
        found: set[int] = set()
        reader = reconnected(own_server)
        for start in range(0, next_key[0], 10_000):
            found.update(keys(reader, "load", f"{start} <= id < {start + 10_000}"))
        reader.close()
        assert acknowledged <= found, f"lost: {sorted(acknowledged - found)[:10]}"
        for batch in attempted:
            present = [i in found for i in batch]
            assert all(present) or not any(present), f"half a batch: {batch}"
        acknowledged |= found
    client.close()


def test_a_second_process_on_the_same_data_is_refused(own_server, tmp_path):
    from harness import Server

    second = Server(own_server.data)
    with pytest.raises(AssertionError, match="ended with") as refused:
        second.start()
    assert str(own_server.data) in str(refused.value)


def test_a_taken_port_is_named(own_server, tmp_path):
    from harness import Server

    second = Server(tmp_path / "other")
    second.milvus_port = own_server.milvus_port
    with pytest.raises(AssertionError, match="ended with") as refused:
        second.start()
    assert str(own_server.milvus_port) in str(refused.value)
