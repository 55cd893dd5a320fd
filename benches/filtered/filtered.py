"""Measures filtered search: recall and queries per second by the share of rows that the filter keeps, next to peers.

    python filtered.py                                   200,000 x 128 made on the spot, Elanus alone
    python filtered.py --peers milvus-lite lancedb       the same searches there, in turns, with ratios
    python filtered.py --base b.npy --queries q.npy

Two columns are filtered: `any` has nothing to do with the vectors, `side` is a row's rank along one direction of them, so
that the rows which a filter keeps lie together, near some queries and far from others. All parameters are the
defaults. The answers are compared with the exact neighbours among the rows that the filter keeps.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
import tempfile
import time

import numpy as np

here = pathlib.Path(__file__).resolve()
sys.path[:0] = [str(here.parents[1] / "server")]
from bench import Elanus, MilvusLite, eventually, say  # noqa: E402
from data import mixture  # noqa: E402
from pymilvus import DataType, MilvusClient  # noqa: E402

K = 10
# Rows of a thousand that a filter keeps.
KEPT = (1, 10, 100, 500, 990, 1000)


def columns(base: np.ndarray) -> dict[str, np.ndarray]:
    """Numbers from 0 to 999, as many rows of each."""
    random = np.random.default_rng(3)
    direction = random.standard_normal(base.shape[1]).astype(np.float32)
    rank = np.empty(len(base), np.int64)
    rank[(base @ direction).argsort()] = np.arange(len(base))
    return {"any": random.permutation(len(base)) * 1000 // len(base), "side": rank * 1000 // len(base)}


def neighbours(base: np.ndarray, queries: np.ndarray, kept: np.ndarray) -> list[set[int]]:
    rows = np.flatnonzero(kept)
    part = base[rows]
    squares = (part**2).sum(1)
    found = []
    for start in range(0, len(queries), 50):
        distances = squares - 2 * (queries[start : start + 50] @ part.T)
        nearest = np.argpartition(distances, min(K, len(rows)) - 1, 1)[:, :K]
        found += [set(rows[each].tolist()) for each in nearest]
    return found


class Milvus:
    """Elanus or milvus-lite through pymilvus."""

    def __init__(self, server, index: str):
        self.server, self.index = server, index
        self.name = f"{server.name} {index}"

    def load(self, base: np.ndarray, numbers: dict[str, np.ndarray]) -> None:
        self.client = MilvusClient(self.server.uri)
        self.table = self.index.lower()
        schema = self.client.create_schema()
        schema.add_field("id", DataType.INT64, is_primary=True)
        for name in numbers:
            schema.add_field(name, DataType.INT64)
        schema.add_field("v", DataType.FLOAT_VECTOR, dim=base.shape[1])
        self.client.create_collection(self.table, schema=schema)
        for start in range(0, len(base), 5_000):
            part = range(start, min(start + 5_000, len(base)))
            rows = [{"id": i, "v": base[i], **{name: int(values[i]) for name, values in numbers.items()}} for i in part]
            self.client.insert(self.table, rows)
        self.client.flush(self.table)
        index = self.client.prepare_index_params()
        index.add_index("v", index_type=self.index, metric_type="L2")
        self.client.create_index(self.table, index, timeout=3600)

        def built() -> bool:
            return int(self.client.describe_index(self.table, "v").get("pending_index_rows", 0) or 0) == 0

        eventually(built, "the index is built", 3600)
        self.client.load_collection(self.table)

    def search(self, query: np.ndarray, column: str, below: int) -> list[int]:
        text = f"{column} < {below}" if below < 1000 else ""
        return [hit["id"] for hit in self.client.search(self.table, [query], limit=K, filter=text)[0]]


class LanceDb:
    name = "lancedb IVF_HNSW_SQ"

    def __init__(self, folder: pathlib.Path):
        import lancedb

        self.database = lancedb.connect(folder / "lancedb")

    def load(self, base: np.ndarray, numbers: dict[str, np.ndarray]) -> None:
        import pyarrow as pa

        vectors = pa.FixedSizeListArray.from_arrays(pa.array(base.reshape(-1)), base.shape[1])
        self.items = self.database.create_table("items", pa.table({"id": np.arange(len(base)), **numbers, "v": vectors}))
        self.items.create_index(metric="l2", vector_column_name="v", index_type="IVF_HNSW_SQ", num_partitions=1)
        for name in numbers:
            self.items.create_scalar_index(name)

    def search(self, query: np.ndarray, column: str, below: int) -> list[int]:
        found = self.items.search(query, vector_column_name="v").limit(K).refine_factor(2).select(["id", "_distance"])
        if below < 1000:
            found = found.where(f'"{column}" < {below}', prefilter=True)
        return found.to_arrow()["id"].to_pylist()


def timed(system, queries: np.ndarray, column: str, below: int, seconds: float) -> list[float]:
    times: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        began = time.perf_counter()
        system.search(queries[len(times) % len(queries)], column, below)
        times.append(time.perf_counter() - began)
    return times


def measure(systems, base, queries, numbers, seconds, rounds) -> list[dict]:
    results = []
    for column, values in numbers.items():
        for below in KEPT:
            truth = neighbours(base, queries, values < below)
            measured: dict[str, list[float]] = {system.name: [] for system in systems}
            quality = {}
            for system in systems:
                found = [system.search(query, column, below) for query in queries]
                full = all(len(ids) == len(wanted) for ids, wanted in zip(found, truth))
                share = np.mean([len(set(ids) & wanted) / len(wanted) for ids, wanted in zip(found, truth)])
                quality[system.name] = {"recall": float(share), "always_k_rows": full}
            for _ in range(rounds):
                for system in systems:
                    measured[system.name] += timed(system, queries, column, below, seconds)
            for name, times in measured.items():
                line = {"column": column, "kept": below / 1000, "system": name, **quality[name], "qps": len(times) / sum(times)}
                results.append(line)
                say(f"{column:5} {below / 10:5.1f} %  {name:24} recall {line['recall']:.3f}  {line['qps']:8.1f} QPS  "
                    f"{'' if line['always_k_rows'] else 'fewer than k rows'}")  # fmt: skip
    return results


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--base", type=pathlib.Path)
    options.add_argument("--queries", type=pathlib.Path)
    options.add_argument("--peers", nargs="*", default=[], choices=["milvus-lite", "lancedb"])
    options.add_argument("--number", type=int, default=200, help="queries that are used")
    options.add_argument("--seconds", type=float, default=1, help="how long each search is repeated in a round")
    options.add_argument("--rounds", type=int, default=2)
    given = options.parse_args()
    if given.base and given.queries:
        base, queries = np.load(given.base).astype(np.float32), np.load(given.queries).astype(np.float32)
    else:
        base, queries = mixture(200_000, 1_000, 128)
    queries = queries[: given.number]
    numbers = columns(base)
    with tempfile.TemporaryDirectory() as folder:
        servers = [Elanus(pathlib.Path(folder))]
        if "milvus-lite" in given.peers:
            servers.append(MilvusLite(pathlib.Path(folder)))
        for server in servers:
            server.start()
        systems = [Milvus(servers[0], "HNSW"), Milvus(servers[0], "IVF_FLAT"), *(Milvus(server, "HNSW") for server in servers[1:])]
        if "lancedb" in given.peers:
            systems.append(LanceDb(pathlib.Path(folder)))
        for system in systems:
            say(f"{system.name}: rows and index")
            system.load(base, numbers)
        results = measure(systems, base, queries, numbers, given.seconds, given.rounds)
        for server in servers:
            server.stop()
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
