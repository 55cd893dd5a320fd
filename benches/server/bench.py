"""Measures a server as a pymilvus user sees it: ingest, index build, recall, queries per second, memory, idle CPU, start.

    python bench.py                        200,000 x 128 made on the spot, Elanus alone
    python bench.py --peer milvus-lite     the same against milvus-lite in the same run, with ratios
    python bench.py --base b.npy --queries q.npy --metric COSINE
    python bench.py --threads 1,4 --nq 1,100      searches from several threads of the client, several vectors a call
    python bench.py --processes 1,2,4             searches from clients that are processes of their own
    python bench.py --processes 1,2,4 --encoded   the same with requests that are encoded already: less of the client
    python bench.py --index IVF_SQ8 --build nlist=1024 --search nprobe=32

Every figure is taken from outside the server: the client's clock, and /proc of the server's processes (Linux).
The server runs in a temporary directory and is stopped at the end.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import json
import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time

os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc
import numpy as np
from pymilvus import DataType, MilvusClient
from pymilvus.grpc_gen import common_pb2, milvus_pb2

here = pathlib.Path(__file__).resolve()
sys.path[:0] = [str(here.parent), str(here.parents[2] / "server" / "tests-e2e")]
from data import exact_neighbours, mixture  # noqa: E402
from harness import Server, binary, eventually, free_port  # noqa: E402

K = 10
COLLECTION = "bench"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# ---- processes


def family(pid: int) -> list[int]:
    """The process and everything that it started."""
    found, frontier = [], [pid]
    while frontier:
        each = frontier.pop()
        found.append(each)
        with contextlib.suppress(OSError):
            for task in pathlib.Path(f"/proc/{each}/task").iterdir():
                frontier += [int(child) for child in (task / "children").read_text().split()]
    return found


def memory(pid: int) -> dict[str, int]:
    """Resident bytes of the family: `anonymous` (its own) and `file` (mapped files, which the system can drop)."""
    total = {"anonymous": 0, "file": 0}
    for each in family(pid):
        with contextlib.suppress(OSError):
            for line in pathlib.Path(f"/proc/{each}/status").read_text().splitlines():
                if line.startswith("RssAnon:"):
                    total["anonymous"] += int(line.split()[1]) * 1024
                elif line.startswith("RssFile:"):
                    total["file"] += int(line.split()[1]) * 1024
    return total


def cpu_seconds(pid: int) -> float:
    ticks = 0
    for each in family(pid):
        with contextlib.suppress(OSError):
            fields = pathlib.Path(f"/proc/{each}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


class Elanus:
    name = "elanus"

    def __init__(self, folder: pathlib.Path):
        self.server = Server(folder / "elanus")

    def start(self) -> None:
        self.server.start()

    uri = property(lambda self: self.server.uri)
    pid = property(lambda self: self.server.process.pid)

    def stop(self) -> None:
        self.server.stop()


class MilvusLite:
    name = "milvus-lite"

    def __init__(self, folder: pathlib.Path):
        self.folder, self.port = folder / "milvus-lite", free_port()
        self.log = open(folder / "milvus-lite.log", "wb")
        self.process: subprocess.Popen | None = None

    uri = property(lambda self: f"http://127.0.0.1:{self.port}")
    pid = property(lambda self: self.process.pid)

    def start(self) -> None:
        command = [sys.executable, "-m", "milvus_lite.cmdline", "server"]
        script = pathlib.Path(sys.executable).with_name("milvus-lite")
        if script.exists():
            command = [str(script), "server"]
        command += ["--data-dir", str(self.folder), "--host", "127.0.0.1", "--port", str(self.port)]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)

        def ready() -> bool:
            import socket

            assert self.process.poll() is None, "milvus-lite ended while starting"
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.port)) == 0

        eventually(ready, "milvus-lite listens", 120)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


# ---- measurements


def measure(system, base: np.ndarray, queries: np.ndarray, truth: np.ndarray, options) -> dict[str, float]:
    """All figures of one server, in the order in which they are printed."""
    figures: dict[str, float] = {}
    began = time.perf_counter()
    system.start()
    figures["start until it listens, s"] = time.perf_counter() - began
    client = MilvusClient(system.uri)
    client.create_collection("first", dimension=4)
    client.insert("first", [{"id": 1, "vector": [1.0, 2.0, 3.0, 4.0]}])
    assert client.search("first", [[1.0, 2.0, 3.0, 4.0]], limit=1)[0][0]["id"] == 1
    figures["start until the first search of a new collection, s"] = time.perf_counter() - began
    client.drop_collection("first")
    idle = memory(system.pid)
    figures["memory idle, MiB"] = (idle["anonymous"] + idle["file"]) / 2**20

    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=base.shape[1])
    client.create_collection(COLLECTION, schema=schema)
    ingest = 0.0
    for start in range(0, len(base), options.batch):
        rows = [{"id": start + i, "vector": row} for i, row in enumerate(base[start : start + options.batch])]
        began = time.perf_counter()
        client.insert(COLLECTION, rows)
        ingest += time.perf_counter() - began
        say(f"{system.name}: {start + len(rows):,} of {len(base):,} rows, {(start + len(rows)) / ingest:,.0f} rows/s")
    figures["ingest, rows/s"] = len(base) / ingest
    began = time.perf_counter()
    client.flush(COLLECTION)
    figures["flush, s"] = time.perf_counter() - began

    say(f"{system.name}: building {options.index}")
    index = client.prepare_index_params()
    index.add_index("vector", index_type=options.index, metric_type=options.metric, params=options.build)
    began = time.perf_counter()
    client.create_index(COLLECTION, index)

    def built() -> bool:
        return int(client.describe_index(COLLECTION, "vector").get("pending_index_rows", 0) or 0) == 0

    eventually(built, "the index is built", 3600)
    client.load_collection(COLLECTION)
    figures[f"{options.index} build and load, s"] = time.perf_counter() - began

    def search(vectors):
        return client.search(COLLECTION, vectors, limit=K, search_params={"params": options.search})

    say(f"{system.name}: recall")
    hits = [found for start in range(0, len(queries), 100) for found in search(list(queries[start : start + 100]))]
    right = [len({hit["id"] for hit in found} & set(row)) / K for found, row in zip(hits, truth.tolist(), strict=True)]
    figures[" ".join([f"recall@{K}", *(f"{name}={value}" for name, value in options.search.items())])] = float(np.mean(right))

    say(f"{system.name}: a call that does nothing, for {options.seconds} s")
    before = cpu_seconds(system.pid)
    times = timed(lambda _: client.get_server_version(), 0, options.seconds)
    figures["a call that does nothing: CPU of the server, ms"] = (cpu_seconds(system.pid) - before) / len(times) * 1e3
    figures["a call that does nothing: p50, ms"] = float(np.percentile(times, 50)) * 1e3
    for threads in options.threads:
        for nq in options.nq:
            say(f"{system.name}: {threads} threads, {nq} queries a call, for {options.seconds} s")
            before = cpu_seconds(system.pid)
            wall, times = timed_searches(search, queries, threads, nq, options.seconds)
            name = f"{threads} client{'s' * (threads > 1)}, nq={nq}"
            figures[f"{name}: CPU of the server a call, ms"] = (cpu_seconds(system.pid) - before) / len(times) * 1e3
            figures[f"queries/s, {name}"] = len(times) * nq / wall
            figures[f"{name}: p50, ms"] = float(np.percentile(times, 50)) * 1e3
            figures[f"{name}: p99, ms"] = float(np.percentile(times, 99)) * 1e3

    for processes in options.processes:
        for nq in options.nq:
            say(f"{system.name}: {processes} processes, {nq} queries a call, for {options.seconds} s")
            rate, times, cpu = searches_of_processes(system, queries, processes, nq, options)
            name = f"{processes} process{'es' * (processes > 1)}, nq={nq}{', encoded' * options.encoded}"
            figures[f"queries/s, {name}"] = rate
            figures[f"{name}: p50, ms"] = float(np.percentile(times, 50)) * 1e3
            figures[f"{name}: p99, ms"] = float(np.percentile(times, 99)) * 1e3
            figures[f"{name}: CPU of the server a call, ms"] = cpu / rate * nq * 1e3

    loaded = memory(system.pid)
    figures["memory loaded, MiB"] = (loaded["anonymous"] + loaded["file"]) / 2**20
    figures["  of it mapped files, MiB"] = loaded["file"] / 2**20
    figures["memory loaded / raw vector bytes"] = (loaded["anonymous"] + loaded["file"]) / base.nbytes
    client.close()
    if options.idle_seconds:
        say(f"{system.name}: idle for {options.idle_seconds} s")
        before = cpu_seconds(system.pid)
        time.sleep(options.idle_seconds)
        figures["CPU idle, % of one core"] = 100 * (cpu_seconds(system.pid) - before) / options.idle_seconds
    return figures


def searches_of_processes(system, queries: np.ndarray, processes: int, nq: int, options) -> tuple[float, list[float], float]:
    """Queries a second of all clients, the seconds of each call, and the server's seconds of CPU in each second."""
    context = multiprocessing.get_context("spawn")
    ready, go = (context.Barrier(processes + 1, timeout=120) for _ in range(2))
    with concurrent.futures.ProcessPoolExecutor(processes, context, join, (ready, go)) as pool:
        work = (system.uri, queries, nq, options.search, options.encoded, options.seconds)
        clients = [pool.submit(client_of_its_own, *work, first * 7) for first in range(processes)]
        with contextlib.suppress(threading.BrokenBarrierError):  # why, the client's own error says
            ready.wait()
            before = cpu_seconds(system.pid)
            go.wait()
            time.sleep(options.seconds)
            cpu = (cpu_seconds(system.pid) - before) / options.seconds
        found = [client.result() for client in clients]
    rate = sum(len(times) * nq / wall for wall, times in found)
    return rate, [taken for _, times in found for taken in times], cpu


def join(ready, go) -> None:
    """Gives this process the two barriers that all clients meet at."""
    global barriers
    barriers = ready, go


def client_of_its_own(
    uri: str, queries: np.ndarray, nq: int, params: dict, encoded: bool, seconds: float, first: int
) -> tuple[float, list[float]]:
    batches = [queries[start : start + nq] for start in range(0, len(queries) - nq + 1, nq)]
    try:
        searches = searches_of_bytes(uri, batches, params) if encoded else searches_of_pymilvus(uri, batches, params)
        for call in range(20):
            searches(call)
    except BaseException:
        for barrier in barriers:
            barrier.abort()
        raise
    for barrier in barriers:
        barrier.wait()
    began = time.perf_counter()
    times = timed(searches, first, seconds)
    return time.perf_counter() - began, times


def searches_of_pymilvus(uri: str, batches: list[np.ndarray], params: dict):
    client, batches = MilvusClient(uri), [list(batch) for batch in batches]
    return lambda call: client.search(COLLECTION, batches[call % len(batches)], limit=K, search_params={"params": params})


def searches_of_bytes(uri: str, batches: list[np.ndarray], params: dict):
    """Requests as pymilvus encodes them, but before the first search. An answer is taken as bytes that are as long as those of the
    first one, which was seen to be right, at least nearly: an error is far shorter."""

    def request(batch: np.ndarray) -> bytes:
        values = [row.tobytes() for row in batch]
        vectors = common_pb2.PlaceholderValue(tag="$0", type=common_pb2.FloatVector, values=values)
        named = {"anns_field": "vector", "topk": K, "params": json.dumps(params), "round_decimal": -1}
        return milvus_pb2.SearchRequest(
            collection_name=COLLECTION,
            dsl_type=common_pb2.BoolExprV1,
            placeholder_group=common_pb2.PlaceholderGroup(placeholders=[vectors]).SerializeToString(),
            search_params=[common_pb2.KeyValuePair(key=key, value=str(value)) for key, value in named.items()],
            nq=len(batch),
        ).SerializeToString()

    channel = grpc.insecure_channel(uri.removeprefix("http://"), [("grpc.max_receive_message_length", -1)])
    search = channel.unary_unary("/milvus.proto.milvus.MilvusService/Search")
    requests = [request(batch) for batch in batches]
    answer = milvus_pb2.SearchResults.FromString(search(requests[0]))
    if answer.status.code or list(answer.results.topks) != [K] * len(batches[0]):
        raise RuntimeError(f"not {K} rows for each query: {answer.status.reason or answer.results.topks}")
    least = answer.ByteSize() // 2

    def next_search(call: int) -> None:
        if len(found := search(requests[call % len(requests)])) < least:
            raise RuntimeError(milvus_pb2.SearchResults.FromString(found).status.reason)

    return next_search


def timed_searches(search, queries: np.ndarray, threads: int, nq: int, seconds: float) -> tuple[float, list[float]]:
    """Seconds that all threads of this client took, and the seconds of each call: `nq` vectors a call, one call after another."""
    batches = [list(queries[start : start + nq]) for start in range(0, len(queries) - nq + 1, nq)]
    for batch in batches[:20]:
        search(batch)

    def worker(first: int) -> list[float]:
        return timed(lambda call: search(batches[call % len(batches)]), first, seconds)

    began = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        times = [taken for each in pool.map(worker, range(0, threads * 7, 7)) for taken in each]
    return time.perf_counter() - began, times


def timed(call, first: int, seconds: float) -> list[float]:
    """The seconds of each of `call(first)`, `call(first + 1)` and so on, one after another."""
    times: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(times) < 20:
        began = time.perf_counter()
        call(first + len(times))
        times.append(time.perf_counter() - began)
    return times


SMALLER_IS_BETTER = (", s", ", ms", "MiB", "of one core", "bytes")


def show(results: dict[str, dict[str, float]]) -> None:
    names = list(results)
    print(f"{'':52}" + "".join(f"{name:>14}" for name in names) + ("         ratio" if len(names) == 2 else ""))
    for figure in results[names[0]]:
        values = [results[name].get(figure) for name in names]
        line = f"{figure:52}" + "".join(f"{value:14,.3f}" if value is not None else f"{'-':>14}" for value in values)
        if len(values) == 2 and all(values):
            better = values[1] / values[0] if figure.endswith(SMALLER_IS_BETTER) else values[0] / values[1]
            line += f"{better:13.1f}x"
        print(line)
    if len(names) == 2:
        print(f"\nratio: how many times better {names[0]} is than {names[1]}; below 1 it is worse")


def settings(text: str) -> dict[str, int | float | str]:
    pairs = [pair.split("=", 1) for pair in text.split(",") if pair]
    if any(len(pair) != 2 for pair in pairs):
        raise argparse.ArgumentTypeError("NAME=VALUE, with commas between")

    def value(text: str) -> int | float | str:
        for kind in (int, float):
            with contextlib.suppress(ValueError):
                return kind(text)
        return text

    return {name: value(text) for name, text in pairs}


def counts(text: str) -> list[int]:
    found = [int(each) for each in text.split(",")]
    if min(found) < 1:
        raise argparse.ArgumentTypeError("numbers above 0, with commas between")
    return found


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000, help="vectors to make (default %(default)s)")
    parser.add_argument("--dim", type=int, default=128, help="their dimension (default %(default)s)")
    parser.add_argument("--base", type=pathlib.Path, help=".npy of float32 vectors instead")
    parser.add_argument("--queries", type=pathlib.Path, help=".npy of float32 queries, with --base")
    parser.add_argument("--metric", choices=["L2", "IP", "COSINE"], default="L2", help="(default %(default)s)")
    parser.add_argument("--batch", type=int, default=10_000, help="rows per insert (default %(default)s)")
    parser.add_argument("--index", default="HNSW", help="its type (default %(default)s)")
    parser.add_argument("--build", type=settings, default=None, help="its parameters (of HNSW by default M=16,efConstruction=200)")
    parser.add_argument("--search", type=settings, default=None, help="those of searches (of HNSW by default ef=64)")
    parser.add_argument("--seconds", type=float, default=10, help="length of the query run (default %(default)s)")
    parser.add_argument("--threads", type=counts, default="1", help="client threads, such as 1,4 (default %(default)s)")
    parser.add_argument("--processes", type=counts, default=[], help="clients that are processes of their own, such as 1,2,4 (default none)")
    parser.add_argument("--encoded", action="store_true", help="searches of --processes are encoded before")
    parser.add_argument("--nq", type=counts, default="1", help="query vectors a call, such as 1,100 (default %(default)s)")
    parser.add_argument("--idle-seconds", type=float, default=60, help="0 leaves it out (default %(default)s)")
    parser.add_argument("--peer", choices=["milvus-lite"], help="measure this one too")
    parser.add_argument("--only-peer", action="store_true", help="leave Elanus out")
    parser.add_argument("--json", type=pathlib.Path, help="also write the figures here")
    options = parser.parse_args()
    if options.encoded and not options.processes:
        parser.error("--encoded is of --processes")
    hnsw = options.index == "HNSW"
    options.build = ({"M": 16, "efConstruction": 200} if hnsw else {}) if options.build is None else options.build
    options.search = ({"ef": 64} if hnsw else {}) if options.search is None else options.search
    return options


def main() -> None:
    options = arguments()
    if (options.base is None) != (options.queries is None):
        sys.exit("--base and --queries belong together")
    if options.base:
        base, queries = (np.load(path).astype(np.float32) for path in (options.base, options.queries))
    else:
        say(f"making {options.rows:,} x {options.dim}")
        base, queries = mixture(options.rows, 1000, options.dim)
    if max(options.nq) > len(queries):
        sys.exit(f"--nq {max(options.nq)}: there are {len(queries)} queries")
    say("exact neighbours")
    truth = exact_neighbours(base, queries, options.metric)
    systems = [] if options.only_peer else [Elanus]
    systems += [MilvusLite] if options.peer else []
    if not systems:
        sys.exit("--only-peer needs --peer")
    if Elanus in systems:
        say(f"binary: {binary()}")
    results = {}
    for kind in systems:
        with tempfile.TemporaryDirectory(prefix="elanus-bench-") as folder:
            system = kind(pathlib.Path(folder))
            try:
                results[system.name] = measure(system, base, queries, truth, options)
            finally:
                with contextlib.suppress(Exception):
                    system.stop()
    show(results)
    if options.json:
        index = {"index": options.index, "build": options.build, "search": options.search}
        described = {"rows": len(base), "dim": base.shape[1], "metric": options.metric, **index, "figures": results}
        options.json.write_text(json.dumps(described, indent=2) + "\n")


if __name__ == "__main__":
    main()
