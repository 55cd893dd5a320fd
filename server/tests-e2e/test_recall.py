"""Search quality: graph and list indexes against exact neighbours, filters inside the search, order and ties."""

import numpy as np
import pytest
from harness import eventually
from pymilvus import MilvusClient

DIM, COUNT = 64, 6000


@pytest.fixture(scope="module")
def data():
    """Clustered vectors: 60 Gaussians in a 16-dimensional latent space, which is harder than uniform noise and closer to life."""
    random = np.random.default_rng(11)
    basis = random.standard_normal((16, DIM)) / 4
    centres = random.standard_normal((60, 16))

    def draw(count):
        latent = centres[random.integers(0, 60, count)] + 0.8 * random.standard_normal((count, 16))
        return (latent @ basis + 0.1 * random.standard_normal((count, DIM))).astype(np.float32)

    return draw(COUNT), draw(100)


def exact(base, queries, metric, k, allowed=None):
    """The `k` best rows per query: (rows, scores), both best first."""
    if metric == "L2":
        distance = (queries**2).sum(1)[:, None] + (base**2).sum(1)[None, :] - 2.0 * queries @ base.T
    else:
        distance = -(queries @ base.T)
        if metric == "COSINE":
            distance = distance / np.linalg.norm(base, axis=1) / np.linalg.norm(queries, axis=1)[:, None]
    if allowed is not None:
        distance = np.where(allowed[None, :], distance, np.inf)
    order = np.argsort(distance, axis=1, kind="stable")[:, :k]
    scores = np.take_along_axis(distance, order, 1)
    return order, scores if metric == "L2" else -scores


def recall(found, truth):
    return np.mean([len({hit["id"] for hit in hits} & set(row.tolist())) / len(row) for hits, row in zip(found, truth)])


def filled(make, client, name, data, metric, index, params, flush=True):
    make(id="INT64", v=DIM, n="INT64", metric=metric, index=index, params=params)
    for start in range(0, COUNT, 2000):
        client.insert(name, [{"id": i, "v": data[0][i], "n": i % 100} for i in range(start, start + 2000)])
    if flush:
        client.flush(name)
        eventually(lambda: client.describe_index(name, "v")["pending_index_rows"] == 0, "the index is built", 120)


@pytest.mark.parametrize("metric", ["L2", "IP", "COSINE"])
@pytest.mark.parametrize(
    ("index", "params", "search", "least"),
    [
        ("FLAT", {}, {}, 1.0),
        ("HNSW", {"M": 16, "efConstruction": 200}, {"ef": 64}, 0.95),
        ("HNSW", {"M": 16, "efConstruction": 200}, {"ef": 400}, 0.99),
        ("IVF_FLAT", {"nlist": 32}, {"nprobe": 8}, 0.85),
        ("IVF_FLAT", {"nlist": 32}, {"nprobe": 32}, 1.0),
        ("IVF_SQ8", {"nlist": 32}, {"nprobe": 8}, 0.85),
        ("IVF_RABITQ", {"nlist": 32, "rbq_bits": 4, "refine": True}, {"nprobe": 8, "refine_k": 4}, 0.8),
        ("SCANN", {"nlist": 32}, {"nprobe": 8, "reorder_k": 80}, 0.8),
        ("HNSW_SQ", {"M": 16, "efConstruction": 200}, {"ef": 64}, 0.95),
        ("HNSW_SQ", {"M": 16, "efConstruction": 200, "sq_type": "SQ4U", "refine": True, "refine_type": "FP32"}, {"ef": 100, "refine_k": 8}, 0.9),
        ("HNSW_PQ", {"M": 16, "efConstruction": 200, "m": 16, "nbits": 8}, {"ef": 100}, 0.9),
        ("HNSW_PRQ", {"M": 16, "efConstruction": 200, "m": 8, "nrq": 2, "nbits": 8}, {"ef": 100}, 0.9),
        ("AUTOINDEX", {}, {}, 0.9),
    ],
    ids=lambda value: ",".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else str(value),
)
def test_recall_at_10(make, client, name, data, metric, index, params, search, least):
    filled(make, client, name, data, metric, index, params)
    truth, scores = exact(*data, metric, 10)
    found = client.search(name, list(data[1]), limit=10, search_params={"metric_type": metric, "params": search})
    assert all(len(hits) == 10 for hits in found)
    assert recall(found, truth) >= least
    for hits in found:
        distances = [hit["distance"] for hit in hits]
        assert distances == sorted(distances, reverse=metric != "L2"), "best first"
    if least == 1.0:
        assert np.allclose([[hit["distance"] for hit in hits] for hits in found], scores, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("index", "params", "search"), [
    ("HNSW", {"M": 16, "efConstruction": 200}, {"ef": 64}), ("IVF_FLAT", {"nlist": 32}, {"nprobe": 8}),
    ("HNSW_SQ", {"M": 16, "efConstruction": 200, "sq_type": "SQ6"}, {"ef": 64}),
])  # fmt: skip
@pytest.mark.parametrize("below", [1, 10, 50, 99])
def test_a_filtered_search_finds_as_many_as_there_are(make, client, name, data, index, params, search, below):
    """With 1 % of the rows allowed a graph alone would come back with too few."""
    filled(make, client, name, data, "L2", index, params)
    allowed = np.arange(COUNT) % 100 < below
    truth, _ = exact(*data, "L2", 20, allowed)
    options = {"search_params": {"params": search}, "filter": f"n < {below}"}
    found = client.search(name, list(data[1][:20]), limit=20, **options)
    assert all(len(hits) == 20 for hits in found)
    assert all(hit["id"] % 100 < below for hits in found for hit in hits)
    assert recall(found, truth[:20]) >= 0.8
    alone = client.search(name, list(data[1][:2]), limit=100, search_params={"params": {**search, "ef": 100}}, filter="id < 60")
    assert all(len(hits) == 60 for hits in alone), "fewer match than asked for: all of them come back"


def test_growing_rows_are_searched_exactly(make, client, name, data):
    filled(make, client, name, data, "L2", "HNSW", {"M": 16, "efConstruction": 200}, flush=True)
    extra = data[1][:50] + np.float32(0.001)
    client.insert(name, [{"id": COUNT + i, "v": row, "n": 0} for i, row in enumerate(extra)])
    found = client.search(name, list(data[1][:50]), limit=1)
    assert [hits[0]["id"] for hits in found] == [COUNT + i for i in range(50)]


def test_the_same_search_gives_the_same_answer(make, client, name, data):
    filled(make, client, name, data, "COSINE", "HNSW", {"M": 8, "efConstruction": 40})
    answers = [client.search(name, list(data[1][:10]), limit=10) for _ in range(3)]
    plain = [[[(hit["id"], hit["distance"]) for hit in hits] for hits in answer] for answer in answers]
    assert plain[0] == plain[1] == plain[2]
    singly = [client.search(name, [query], limit=10)[0] for query in data[1][:10]]
    assert [[hit["id"] for hit in hits] for hits in singly] == [[hit[0] for hit in hits] for hits in plain[0]]


def test_equal_distances_come_in_key_order(make, client, name):
    make(id="INT64", v=2)
    keys = [5, 3, 9, 1, 7, 2, 8, 6, 4, 0]
    client.insert(name, [{"id": key, "v": [1.0, 1.0]} for key in keys[:5]])
    client.flush(name)
    client.insert(name, [{"id": key, "v": [1.0, 1.0]} for key in keys[5:]])
    assert [hit["id"] for hit in client.search(name, [[0.0, 0.0]], limit=10)[0]] == list(range(10))
    some = [hit["id"] for hit in client.search(name, [[0.0, 0.0]], limit=4)[0]]
    assert some == sorted(some)


def test_the_score_of_a_zero_vector(make, client, name):
    make(id="INT64", v=2, metric="COSINE")
    client.insert(name, [{"id": 1, "v": [0.0, 0.0]}, {"id": 2, "v": [1.0, 0.0]}, {"id": 3, "v": [-1.0, 0.0]}])
    hits = client.search(name, [[1.0, 0.0]], limit=3)[0]
    assert [(hit["id"], hit["distance"]) for hit in hits] == [(2, 1.0), (1, 0.0), (3, -1.0)]


def test_l2_is_the_squared_distance(make, client, name):
    make(id="INT64", v=2)
    client.insert(name, [{"id": 1, "v": [3.0, 4.0]}])
    assert client.search(name, [[0.0, 0.0]], limit=1)[0][0]["distance"] == 25.0


def test_an_index_survives_a_restart(own_server, data):
    client = MilvusClient(own_server.uri)
    schema = client.create_schema()
    schema.add_field("id", 5, is_primary=True)
    schema.add_field("v", 101, dim=DIM)
    indexes = client.prepare_index_params()
    indexes.add_index("v", index_type="HNSW", metric_type="L2", params={"M": 16, "efConstruction": 200})
    client.create_collection("kept", schema=schema, index_params=indexes)
    client.insert("kept", [{"id": i, "v": data[0][i]} for i in range(4000)])
    client.flush("kept")
    eventually(lambda: client.describe_index("kept", "v")["pending_index_rows"] == 0, "the index is built", 120)
    before = client.search("kept", list(data[1][:20]), limit=10, search_params={"params": {"ef": 40}})
    own_server.restart()
    index = client.describe_index("kept", "v")
    assert (index["state"], int(index["indexed_rows"]), int(index["pending_index_rows"])) == ("Finished", 4000, 0)
    after = client.search("kept", list(data[1][:20]), limit=10, search_params={"params": {"ef": 40}})
    assert [[h["id"] for h in hits] for hits in after] == [[h["id"] for h in hits] for hits in before]
    client.close()
