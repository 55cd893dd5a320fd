"""VDBBench (vectordb-bench) with its own Milvus client, unmodified, against a running server, on vectors that are here.

    python vdbbench.py http://127.0.0.1:19530                           20,000 x 128 made on the spot, HNSW
    python vdbbench.py http://127.0.0.1:19530 --index FLAT --index IVF_FLAT --label 0.05
    python vdbbench.py http://127.0.0.1:19530 --base b.npy --queries q.npy --metric COSINE --seconds 30

Needs the packages of requirements-vdbbench.txt; nothing is downloaded. The vectors become the Parquet files of a data
set of one's own (train, test, neighbors), and its case PerformanceCustomDataset is run on them: insert, flush, compaction,
index, then searches by each number of clients (processes) and one pass over all queries for the recall. Any server that
speaks Milvus' protocol can be named; its collection VDBBench is dropped first. Ends with 1 if a case failed.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import sys
import tempfile
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from data import exact_neighbours, mixture

INDEXES = ["HNSW", "HNSW_SQ", "FLAT", "AUTOINDEX", "IVF_FLAT", "IVF_SQ8", "IVF_RABITQ", "SCANN", "DISKANN"]
PASSED = ":)"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# ---- the data set


def label(share: float) -> str:
    """The label that VDBBench looks for in rows of this share."""
    percent = share * 100
    return f"label_{int(percent)}p" if percent >= 1 else f"label_{percent:.1f}p"


def labels(rows: int, shares: list[float]) -> np.ndarray:
    """A label for each row: each share of the rows, drawn, has its own; the rest have `none`."""
    drawn = np.random.default_rng(11).random(rows)
    found = np.full(rows, "none", dtype=object)
    below = 0.0
    for share in shares:
        found[(below <= drawn) & (drawn < below + share)] = label(share)
        below += share
    return found


def write(folder: pathlib.Path, base: np.ndarray, queries: np.ndarray, options) -> None:
    """The files of the data set: vectors and queries, the exact `k` nearest of each query, without and with each label."""

    def table(name: str, **columns) -> None:
        rows = len(next(iter(columns.values())))
        pq.write_table(pa.table({"id": pa.array(np.arange(rows, dtype=np.int64)), **columns}), folder / f"{name}.parquet")

    def lists(matrix: np.ndarray) -> pa.Array:
        offsets = np.arange(0, matrix.size + 1, matrix.shape[1], dtype=np.int32)
        return pa.ListArray.from_arrays(offsets, np.ascontiguousarray(matrix).reshape(-1))

    table("train", emb=lists(base))
    table("test", emb=lists(queries))
    table("neighbors", neighbors_id=lists(exact_neighbours(base, queries, options.metric, options.k)))
    label_of = labels(len(base), options.label)
    table("scalar_labels", labels=pa.array(label_of, pa.string()))
    for share in options.label:
        among = np.flatnonzero(label_of == label(share))
        if len(among) < options.k:
            sys.exit(f"--label {share}: {len(among)} of {len(base)} rows have it, fewer than --k {options.k}")
        nearest = among[exact_neighbours(base[among], queries, options.metric, options.k)]
        table(f"neighbors_labels_{label(share)}", neighbors_id=lists(nearest))


# ---- the benchmark


def index_config(kind: str, options):
    """VDBBench's configuration of an index."""
    from vectordb_bench.backend.clients.milvus import config

    hnsw = {"M": options.m, "efConstruction": options.ef_construction, "ef": options.ef}
    ivf = {"nlist": options.nlist, "nprobe": options.nprobe}
    return {
        "HNSW": lambda: config.HNSWConfig(**hnsw),
        "HNSW_SQ": lambda: config.HNSWSQConfig(**hnsw),
        "FLAT": config.FLATConfig,
        "AUTOINDEX": config.AutoIndexConfig,
        "IVF_FLAT": lambda: config.IVFFlatConfig(**ivf),
        "IVF_SQ8": lambda: config.IVFSQ8Config(**ivf),
        "IVF_RABITQ": lambda: config.IVFRABITQConfig(**ivf),
        "SCANN": lambda: config.SCANNConfig(**ivf),
        "DISKANN": lambda: config.DISKANNConfig(search_list=options.ef),
    }[kind]()


def tasks(folder: pathlib.Path, base: np.ndarray, options) -> list:
    """A task for each index, and one for each index and label."""
    from pydantic import SecretStr
    from vectordb_bench.backend.cases import CaseType
    from vectordb_bench.backend.clients import DB
    from vectordb_bench.backend.clients.milvus.config import MilvusConfig
    from vectordb_bench.models import CaseConfig, ConcurrencySearchConfig, TaskConfig

    def task(kind: str, share: float | None):
        case = {
            "name": "no filter" if share is None else label(share),
            "description": "vectors that are here",
            "load_timeout": options.timeout,
            "optimize_timeout": options.timeout,
            "dataset_config": {
                "name": "local", "dir": str(folder), "size": len(base), "dim": base.shape[1],
                "metric_type": options.metric, "file_count": 1, "with_gt": True,
            },
            "use_filter": share is not None,
            "label_percentage": share,
        }  # fmt: skip
        searches = ConcurrencySearchConfig(
            num_concurrency=options.clients, concurrency_duration=options.seconds, concurrency_timeout=options.timeout
        )
        return TaskConfig(
            db=DB.Milvus,
            db_config=MilvusConfig(db_label=kind, uri=SecretStr(options.uri)),
            db_case_config=index_config(kind, options),
            case_config=CaseConfig(
                case_id=CaseType.PerformanceCustomDataset, custom_case=case, k=options.k, concurrency_search_config=searches
            ),
            load_concurrency=options.load_clients,
            insert_batch_size=options.batch,
        )

    return [task(kind, share) for kind in options.index for share in [None, *options.label]]


def run(work: list, results: pathlib.Path) -> list[dict]:
    """Runs the tasks as VDBBench's command line does, and reads the results that it writes."""
    from vectordb_bench import interface

    interface.benchmark_runner.run(work, "local")
    running = interface.global_result_future
    while interface.benchmark_runner.has_running():
        if running.done() and running.exception():
            raise running.exception()
        time.sleep(0.2)
    if interface.benchmark_runner.latest_error:
        sys.exit(interface.benchmark_runner.latest_error)
    written = sorted(results.glob("**/result_*.json"))
    return [result for path in written for result in json.loads(path.read_text())["results"]]


def show(found: list[dict], options) -> None:
    columns = ["load, s", f"recall@{options.k}"]
    columns += [f"{clients} x {what}" for clients in options.clients for what in ("queries/s", "p50, ms", "p99, ms")]
    print(f"{'':24}" + "".join(f"{column:>16}" for column in columns))
    for result in found:
        config, metrics = result["task_config"], result["metrics"]
        line = f"{config['db_config']['db_label']} {config['case_config']['custom_case']['name']}"
        if result["label"] != PASSED:
            print(f"{line:24}  failed: {result['label']}")
            continue
        values = [metrics["load_duration"], metrics["recall"]]
        series = ("conc_qps_list", 1), ("conc_latency_p50_list", 1e3), ("conc_latency_p99_list", 1e3)
        for position in range(len(metrics["conc_num_list"])):
            values += [metrics[name][position] * unit for name, unit in series]
        print(f"{line:24}" + "".join(f"{value:16,.3f}" for value in values))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("uri", help="of the Milvus door, such as http://127.0.0.1:19530")
    parser.add_argument("--index", action="append", choices=INDEXES, help="may be given several times (default HNSW)")
    parser.add_argument("--label", action="append", type=float, default=[], metavar="SHARE",
                        help="search among this share of the rows too, chosen by a label; may be given several times")  # fmt: skip
    parser.add_argument("--rows", type=int, default=20_000, help="vectors to make (default %(default)s)")
    parser.add_argument("--dim", type=int, default=128, help="their dimension (default %(default)s)")
    parser.add_argument("--base", type=pathlib.Path, help=".npy of float32 vectors instead; --rows takes the first ones")
    parser.add_argument("--queries", type=pathlib.Path, help=".npy of float32 queries, with --base")
    parser.add_argument("--metric", choices=["L2", "IP", "COSINE"], default="L2", help="(default %(default)s)")
    parser.add_argument("--k", type=int, default=100, help="neighbours to find (default %(default)s)")
    parser.add_argument("--seconds", type=int, default=5, help="length of each run of searches (default %(default)s)")
    parser.add_argument("--clients", default="1,2", help="numbers of clients that search at once (default %(default)s)")
    parser.add_argument("--load-clients", type=int, default=1, help="clients that insert (default %(default)s)")
    parser.add_argument("--batch", type=int, default=1000, help="rows per insert (default %(default)s)")
    parser.add_argument("--m", type=int, default=16, help="M of HNSW (default %(default)s)")
    parser.add_argument("--ef-construction", type=int, default=200, help="(default %(default)s)")
    parser.add_argument("--ef", type=int, default=128, help="ef of HNSW, search_list of DISKANN (default %(default)s)")
    parser.add_argument("--nlist", type=int, default=128, help="lists of the IVF family (default %(default)s)")
    parser.add_argument("--nprobe", type=int, default=16, help="lists to search (default %(default)s)")
    parser.add_argument("--timeout", type=int, default=3600, help="seconds for each step (default %(default)s)")
    parser.add_argument("--log-level", default="WARNING", help="of VDBBench (default %(default)s)")
    parser.add_argument("--json", type=pathlib.Path, help="also write VDBBench's results here")
    options = parser.parse_args()
    options.index = options.index or ["HNSW"]
    options.clients = [int(count) for count in options.clients.split(",")]
    if sum(options.label) > 1 or not all(0 < share < 1 for share in options.label):
        parser.error("--label: shares are between 0 and 1, and together at most 1")
    if len({label(share) for share in options.label}) < len(options.label):
        parser.error("--label: VDBBench tells shares apart by whole percents, below 1 % by tenths")
    return options


def main() -> None:
    options = arguments()
    if (options.base is None) != (options.queries is None):
        sys.exit("--base and --queries belong together")
    if options.base:
        base, queries = (np.load(path).astype(np.float32) for path in (options.base, options.queries))
        base = base[: options.rows]
    else:
        say(f"making {options.rows:,} x {options.dim}")
        base, queries = mixture(options.rows, 1000, options.dim)
    with tempfile.TemporaryDirectory(prefix="elanus-vdbbench-") as name:
        folder = pathlib.Path(name)
        say("exact neighbours, Parquet files")
        write(folder, base, queries, options)
        results = folder / "results"
        os.environ |= {
            "RESULTS_LOCAL_DIR": str(results), "DATASET_LOCAL_DIR": str(folder / "none"),
            "LOG_FILE": str(folder / "log"), "LOG_LEVEL": options.log_level,
        }  # fmt: skip
        say(f"{len(options.index) * (1 + len(options.label))} cases, each loads its collection anew")
        found = run(tasks(folder, base, options), results)
    show(found, options)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    if not found or any(result["label"] != PASSED for result in found):
        sys.exit(1)


if __name__ == "__main__":
    main()
