"""Measures searches with a reranker in WebAssembly as a pymilvus user sees them, next to the same searches without it, and
the searches of a bystander while other clients call plugins that mean harm.

    python plugins.py                        100,000 x 128 made on the spot, HNSW
    python plugins.py --rows 20000 --seconds 2

Both kinds of search take turns, so that what else the machine does meets both. The rerankers are those of
`plugins/examples/prebuilt`, the hostile ones those of `plugins/hostile/prebuilt`.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
import tempfile
import threading
import time

import adbc_driver_flightsql.dbapi as flightsql
import numpy as np
from pymilvus import DataType, Function, FunctionType, MilvusClient, MilvusException

here = pathlib.Path(__file__).resolve()
REPOSITORY = here.parents[2]
sys.path[:0] = [str(here.parent), str(REPOSITORY / "server" / "tests-e2e")]
from data import mixture  # noqa: E402
from harness import Server, eventually  # noqa: E402

CANDIDATES = 100
HOSTILE = ["endless-loop", "memory-bomb", "deep-recursion", "score-nan", "order-duplicate", "trap-in-post-return"]


def wasm(name: str, **params) -> Function:
    given = {"reranker": "wasm", "name": name, "rerank_k": CANDIDATES}
    if params:
        given["params"] = params
    return Function(name="r", function_type=FunctionType.RERANK, input_field_names=[], params=given)


def rate(search, queries, seconds: float) -> tuple[float, list[float]]:
    """Searches a second, and the seconds of each."""
    times = []
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        query = queries[len(times) % len(queries)]
        before = time.perf_counter()
        search(query)
        times.append(time.perf_counter() - before)
    return len(times) / (time.perf_counter() - started), times


def percentiles(times: list[float]) -> dict:
    return {"p50_ms": float(np.percentile(times, 50) * 1e3), "p99_ms": float(np.percentile(times, 99) * 1e3)}


def fill(client: MilvusClient, base: np.ndarray) -> None:
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=base.shape[1])
    schema.add_field("created_at", DataType.INT64)
    schema.add_field("text", DataType.VARCHAR, max_length=200)
    indexes = client.prepare_index_params()
    indexes.add_index("v", index_type="HNSW", metric_type="L2", params={"M": 16, "efConstruction": 200})
    client.create_collection("items", schema=schema, index_params=indexes)
    words = "kite falcon hawk eagle owl heron crane stork swift swallow".split()
    for begin in range(0, len(base), 10_000):
        rows = base[begin : begin + 10_000]
        client.insert("items", [
            {"id": begin + i, "v": row, "created_at": (begin + i) % 1_000, "text": " ".join(words[(begin + i * j) % 10] for j in range(16))}
            for i, row in enumerate(rows)
        ])  # fmt: skip
    client.flush("items")
    # The index is built meanwhile, and would take the processors from the searches.
    eventually(lambda: client.describe_index("items", "v")["pending_index_rows"] == 0, "the rows are indexed", 600)
    client.load_collection("items", refresh=True)


def compare(client: MilvusClient, queries: np.ndarray, seconds: float, rounds: int, ranker: Function) -> dict:
    params = {"params": {"ef": 128}}

    def plain(query):
        client.search("items", [query], anns_field="v", limit=CANDIDATES, search_params=params, output_fields=["created_at", "text"])

    def reranked(query):
        client.search("items", [query], anns_field="v", limit=CANDIDATES, search_params=params, output_fields=["created_at", "text"], ranker=ranker)

    reranked(queries[0])
    rates: dict = {"plain": [], "reranked": []}
    for _ in range(rounds):
        for name, search in [("plain", plain), ("reranked", reranked)]:
            rates[name].append(rate(search, queries, seconds)[0])
    ratios = [with_it / without for without, with_it in zip(rates["plain"], rates["reranked"])]
    return {**{name: float(np.median(all_)) for name, all_ in rates.items()}, "ratio": float(np.median(ratios))}


def attack(client: MilvusClient, queries: np.ndarray, seconds: float, uri: str, names: list[str]) -> dict:
    """The searches of a bystander alone, and while two clients call hostile plugins."""

    def plain(query):
        client.search("items", [query], anns_field="v", limit=10, output_fields=["id"])

    _, alone = rate(plain, queries, seconds)
    stop, failures = threading.Event(), {}

    def hostile():
        attacker = MilvusClient(uri)
        calls = 0
        while not stop.is_set():
            name = names[calls % len(names)]
            calls += 1
            try:
                attacker.search("items", [queries[0]], anns_field="v", limit=CANDIDATES, ranker=wasm(name))
                failures[name] = "answered"
            except MilvusException as error:
                failures[name] = str(error)

    threads = [threading.Thread(target=hostile) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        _, attacked = rate(plain, queries, seconds)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    return {"alone": percentiles(alone), "attacked": percentiles(attacked), "failures": failures}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=100_000)
    options.add_argument("--seconds", type=float, default=2.0, help="of each round")
    options.add_argument("--rounds", type=int, default=5)
    given = options.parse_args()
    base, queries = mixture(given.rows, 1_000, 128)
    report: dict = {"rows": given.rows, "candidates": CANDIDATES}
    with tempfile.TemporaryDirectory() as folder:
        plugins = REPOSITORY / "plugins"
        server = Server(pathlib.Path(folder), "--allow-plugins", "--allow-files", str(plugins)).start()
        client = MilvusClient(server.uri)
        fill(client, base)
        with flightsql.connect(server.flight, autocommit=True) as connection, connection.cursor() as cursor:
            for name in ["recency", "lexical", "mmr"]:
                cursor.execute(f"CREATE RERANKER {name} FROM '{plugins}/examples/prebuilt/{name}.wasm' WITH (deadline = '1s')")
            for name in HOSTILE:
                cursor.execute(f"CREATE RERANKER \"{name}\" FROM '{plugins}/hostile/prebuilt/{name}.wasm'")
        rerankers = {
            "recency": wasm("recency", now=1_000, half_life=100),
            "mmr": wasm("mmr"),
        }
        for name, ranker in rerankers.items():
            report[name] = compare(client, queries, given.seconds, given.rounds, ranker)
            print(f"{name}: {report[name]}", file=sys.stderr)
        report["attack"] = attack(client, queries, given.seconds * given.rounds, server.uri, HOSTILE)
        server.stop()
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
