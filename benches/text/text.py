"""Measures full-text search: queries per second and the time to index, next to milvus-lite.

    python text.py                         Elanus alone
    python text.py --peer milvus-lite      the same searches there, in turns, with ratios

The documents are the docstrings of Python's standard library, again and again with numbers added when more are asked for;
a query has two to five words of one of them. The scores of Elanus are compared with the formula.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import random
import sys
import tempfile
import time

here = pathlib.Path(__file__).resolve()
sys.path[:0] = [str(here.parents[1] / "server"), str(here.parents[2] / "server" / "tests-e2e")]
from bench import Elanus, MilvusLite, say  # noqa: E402
from documents import Bm25, docstrings, words  # noqa: E402
from pymilvus import DataType, Function, FunctionType, MilvusClient  # noqa: E402

K = 10


class System:
    def __init__(self, server):
        self.server, self.name = server, server.name

    def load(self, texts: list[str]) -> float:
        """Seconds until the texts can be searched."""
        self.client = MilvusClient(self.server.uri)
        schema = self.client.create_schema()
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("text", DataType.VARCHAR, max_length=65_535, enable_analyzer=True)
        schema.add_field("terms", DataType.SPARSE_FLOAT_VECTOR)
        schema.add_function(
            Function(name="bm25", function_type=FunctionType.BM25, input_field_names=["text"], output_field_names=["terms"])
        )
        index = self.client.prepare_index_params()
        index.add_index("terms", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
        self.client.create_collection("documents", schema=schema, index_params=index)
        began = time.perf_counter()
        for start in range(0, len(texts), 5_000):
            part = range(start, min(start + 5_000, len(texts)))
            self.client.insert("documents", [{"id": i, "text": texts[i]} for i in part])
        self.client.flush("documents")
        self.client.load_collection("documents")
        return time.perf_counter() - began

    def search(self, query: str) -> list[tuple[int, float]]:
        found = self.client.search("documents", [query], anns_field="terms", limit=K)[0]
        return [(hit["id"], hit["distance"]) for hit in found]


def timed(system: System, queries: list[str], seconds: float) -> list[float]:
    times: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        began = time.perf_counter()
        system.search(queries[len(times) % len(queries)])
        times.append(time.perf_counter() - began)
    return times


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--peer", choices=["milvus-lite"])
    options.add_argument("--documents", type=int, help="how many; all different ones when left out")
    options.add_argument("--seconds", type=float, default=3, help="how long the queries are repeated in a round")
    options.add_argument("--rounds", type=int, default=3)
    given = options.parse_args()
    unique = docstrings()
    number = given.documents or len(unique)
    texts = [unique[i % len(unique)] + (f" {i}" if i >= len(unique) else "") for i in range(number)]
    choose = random.Random(1)
    queries = []
    for _ in range(500):
        known = words(choose.choice(texts))
        queries.append(" ".join(choose.choices(known, k=choose.randint(2, 5))))
    with tempfile.TemporaryDirectory() as folder:
        servers = [Elanus(pathlib.Path(folder))]
        if given.peer:
            servers.append(MilvusLite(pathlib.Path(folder)))
        for server in servers:
            server.start()
        systems = [System(server) for server in servers]
        results = []
        for system in systems:
            say(f"{system.name}: {len(texts)} documents")
            results.append({"system": system.name, "documents": len(texts), "load_seconds": system.load(texts), "times": []})
        oracle, wrong = Bm25(dict(enumerate(texts))), 0.0
        for query in queries[:100]:
            expected = sorted(oracle.scores(query).values(), reverse=True)[:K]
            found = systems[0].search(query)
            assert len(found) == len(expected), query
            wrong = max(wrong, *(abs(score - exact) / exact for (_, score), exact in zip(found, expected)))
        results[0]["largest_relative_error_of_a_score"] = wrong
        for _ in range(given.rounds):
            for system, result in zip(systems, results):
                result["times"] += timed(system, queries, given.seconds)
        for server in servers:
            server.stop()
    for result in results:
        times = sorted(result.pop("times"))
        result |= {"qps": len(times) / sum(times), "p50_ms": times[len(times) // 2] * 1e3, "p99_ms": times[len(times) * 99 // 100] * 1e3}
    if given.peer:
        results[0]["times_the_queries_per_second_of_the_peer"] = results[0]["qps"] / results[1]["qps"]
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
