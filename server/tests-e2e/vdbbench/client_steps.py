"""VDBBench's Milvus client, unmodified, through the steps of its cases: client_steps.py URI COLLECTION. Prints one line of JSON.

Each step is what a case of the benchmark does with the client: the collection is made with its indexes, filled in batches,
optimized (flush, compaction, merge into one segment, index, refreshed load), searched with each filter.
"""

import json
import random
import sys

from vectordb_bench.backend.clients.api import MetricType
from vectordb_bench.backend.clients.milvus.config import (
    AutoIndexConfig,
    FLATConfig,
    HNSWConfig,
    IVFFlatConfig,
    MilvusFtsConfig,
)
from vectordb_bench.backend.clients.milvus.milvus import Milvus
from vectordb_bench.backend.filter import IntFilter, LabelFilter, non_filter
from vectordb_bench.backend.payload import PayloadProfile

ROWS, BATCH, DIM, K = 2000, 500, 16, 10
LABEL = LabelFilter(label_percentage=0.2)
FROM = IntFilter(filter_rate=0.5, int_value=ROWS // 2)
CONFIGS = {
    "HNSW": HNSWConfig(M=16, efConstruction=100, ef=64),
    "FLAT": FLATConfig(),
    "AUTOINDEX": AutoIndexConfig(),
    "IVF_FLAT": IVFFlatConfig(nlist=16, nprobe=16),
}
WORDS = "kites hover over open grassland while owls hunt at night and herons wait in shallow water".split()


def nearest(vectors, query, rows):
    def distance(row):
        return sum((x - y) ** 2 for x, y in zip(vectors[row], query, strict=True))

    return sorted(rows, key=distance)[:K]


def recall(found, right):
    assert len(found) == len(right), f"{len(found)} rows instead of {len(right)}"
    return len(set(found) & set(right)) / len(right)


def vectors_case(uri, collection, config, drawn):
    """Recalls of a collection with this index, without a filter, with a number's and with a label's; rows with payloads."""
    vectors = [[drawn.gauss(0, 1) for _ in range(DIM)] for _ in range(ROWS)]
    labels = [LABEL.label_value if drawn.random() < 0.2 else "none" for _ in range(ROWS)]
    config.metric_type = MetricType.L2
    client = Milvus(DIM, {"uri": uri}, config, collection_name=collection, drop_old=True, with_scalar_labels=True)
    with client.init():
        for start in range(0, ROWS, BATCH):
            part = slice(start, start + BATCH)
            count, error = client.insert_embeddings(vectors[part], list(range(start, start + BATCH)), labels[part])
            assert error is None and count == BATCH, (count, error)
        client.optimize(ROWS)
        ready = client.poll_insert_readiness(ROWS)
        segments = client.client.list_persistent_segments(collection)
        answer = {"ready": [ready["fully_searchable"], ready["fully_indexed"]], "segments": [s.num_rows for s in segments]}
        queries = [[drawn.gauss(0, 1) for _ in range(DIM)] for _ in range(5)]
        among = {
            "none": (non_filter, range(ROWS)),
            "number": (FROM, range(FROM.int_value, ROWS)),
            "label": (LABEL, [row for row in range(ROWS) if labels[row] == LABEL.label_value]),
        }
        for name, (filters, rows) in among.items():
            client.prepare_filter(filters)
            recalls = [recall(client.search_embedding(query, K), nearest(vectors, query, rows)) for query in queries]
            answer[name] = sum(recalls) / len(recalls)
        for profile in PayloadProfile.VECTOR, PayloadProfile.SCALAR_LABEL:
            answer[profile.value] = len(client.search_embedding(queries[0], K, payload_profile=profile))
    # A second run of the benchmark finds the collection and only searches it.
    again = Milvus(DIM, {"uri": uri}, config, collection_name=collection, with_scalar_labels=True)
    with again.init():
        again.prepare_filter(non_filter)
        answer["again"] = recall(again.search_embedding(queries[0], K), nearest(vectors, queries[0], range(ROWS)))
    return answer


def tenants_case(uri, collection, drawn):
    """Whether searches for a tenant, which is a partition key, find rows of that tenant alone."""
    tenants = ["north", "south"]
    config = HNSWConfig(M=16, efConstruction=100, ef=64, metric_type=MetricType.COSINE, use_partition_key=True)
    client = Milvus(DIM, {"uri": uri}, config, collection_name=collection, drop_old=True, multitenant_tenant_labels=tenants)
    client.validate_multitenant_schema()
    vectors = [[drawn.gauss(0, 1) for _ in range(DIM)] for _ in range(400)]
    with client.init():
        of = [tenants[row % 2] for row in range(400)]
        count, error = client.insert_embeddings(vectors, list(range(400)), tenant_labels_data=of)
        assert error is None and count == 400, (count, error)
        client.optimize(400)
        client.prepare_filter(non_filter)
        return {tenant: client.search_embedding(vectors[0], K, tenant=tenant) for tenant in tenants}


def texts_case(uri, collection, drawn):
    """Documents that a full-text search finds, without a filter and with a number's."""
    texts = [" ".join(drawn.choices(WORDS, k=6)) for _ in range(200)]
    texts[7], texts[150] = "a lighthouse stands alone", "the old lighthouse keeper and the lighthouse lamp"
    client = Milvus(0, {"uri": uri}, MilvusFtsConfig(), collection_name=collection, drop_old=True, fts_filter_enabled=True)
    with client.init():
        ids = [f"doc{row}" for row in range(200)]
        count, error = client.insert_documents(texts, ids, filter_ids=list(range(200)))
        assert error is None and count == 200, (count, error)
        client.optimize(200)
        client.prepare_filter(non_filter)
        found = client.search_documents("lighthouse", K)
        client.prepare_filter(IntFilter(filter_rate=0.5, int_field="filter_id", int_value=100))
        return {"found": found, "filtered": client.search_documents("lighthouse", K, payload_profile=PayloadProfile.TEXT)}


def main():
    uri, collection = sys.argv[1:]
    drawn = random.Random(5)
    answer = {kind: vectors_case(uri, f"{collection}_{kind}", config, drawn) for kind, config in CONFIGS.items()}
    answer["tenants"] = tenants_case(uri, f"{collection}_tenants", drawn)
    answer["texts"] = texts_case(uri, f"{collection}_texts", drawn)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
