"""Measures what an insert costs the server: the same encoded request into Elanus, into a gRPC server that does nothing, into one
that only writes, and the disk alone.

    python insert.py                         messages of 10,000 x 128, one and four at a time
    python insert.py --rows 2000 --dim 768 --calls 1,8 --seconds 10

Requests are encoded once, as pymilvus encodes them, and sent as bytes, so the client's share is the same everywhere and small.
The server that does nothing takes the bytes of a message and answers with the bytes of another: what grpcio gives, with its
handlers in Python. The one that only writes has two files: each message goes into the first with an fsync before its answer and
into the second soon after, as rows go into a log and a segment. The disk is a file of as many bytes, with an fsync for each
message. All of them lie in the folder of temporary files (TMPDIR), as the server's data. What Elanus writes in the background
after its turn is waited for. Needs Linux.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import os
import pathlib
import queue
import subprocess
import sys
import tempfile
import threading
import time

os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc
import numpy as np
from pymilvus import DataType, MilvusClient
from pymilvus.grpc_gen import milvus_pb2, schema_pb2

from bench import COLLECTION, Elanus, counts, cpu_seconds, eventually, free_port

METHOD = "/milvus.proto.milvus.MilvusService/Insert"
UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
# Connections that are not shared with other channels to the same address.
OWN = [*UNLIMITED, ("grpc.use_local_subchannel_pool", 1)]
SECONDS_OF_A_CALL = 60
LARGEST_FILE = 512 << 20


def message(rows: int, dim: int) -> bytes:
    """An insert of `rows` vectors whose keys the server makes."""
    values = np.random.default_rng(1).standard_normal(rows * dim, dtype=np.float32)
    vectors = schema_pb2.VectorField(dim=dim, float_vector=schema_pb2.FloatArray(data=values))
    field = schema_pb2.FieldData(type=DataType.FLOAT_VECTOR, field_name="vector", vectors=vectors)
    return milvus_pb2.InsertRequest(collection_name=COLLECTION, fields_data=[field], num_rows=rows).SerializeToString()


def serve(port: int, folder: str | None) -> None:
    """Answers every call, until the process is killed, with nothing done, or in a folder with its bytes written."""
    answer = milvus_pb2.MutationResult().SerializeToString()
    take = keep_in(pathlib.Path(folder)) if folder else lambda _request: None

    def answered(request: bytes, _context) -> bytes:
        take(request)
        return answer

    class Handler(grpc.GenericRpcHandler):
        def service(self, _call):
            return grpc.unary_unary_rpc_method_handler(answered)

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(8), options=UNLIMITED)
    server.add_generic_rpc_handlers((Handler(),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


def keep_in(folder: pathlib.Path):
    """What writes bytes to a file, synced, and has a thread write them to another. Both files begin anew when they are large, as
    logs do that are in segments."""
    folder.mkdir()
    log, segment = (open(folder / name, "wb", buffering=0) for name in ("log", "segment"))
    one, behind = threading.Lock(), queue.Queue(4)

    def write(file, request: bytes) -> None:
        if file.tell() > LARGEST_FILE:
            file.truncate(0)
            file.seek(0)
        file.write(request)

    def follow() -> None:
        while True:
            write(segment, behind.get())

    def keep(request: bytes) -> None:
        with one:
            write(log, request)
            os.fsync(log.fileno())
        behind.put(request)

    threading.Thread(target=follow, daemon=True).start()
    return keep


class Other:
    """A server that does nothing, or one that only writes to a folder, in a process of its own."""

    def __init__(self, folder: pathlib.Path | None = None):
        self.port = free_port()
        told = [str(self.port), *([str(folder)] if folder else [])]
        self.process = subprocess.Popen([sys.executable, __file__, "--serve", *told])
        self.pid = self.process.pid

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def send(port: int, pid: int, request: bytes, calls: int, seconds: float) -> tuple[int, float, float]:
    """Messages sent, MB a second, and milliseconds of the server's processor for each MB, with `calls` at a time, each on a
    connection of its own."""
    channels = [grpc.insecure_channel(f"127.0.0.1:{port}", OWN) for _ in range(calls)]
    inserts = [channel.unary_unary(METHOD, response_deserializer=milvus_pb2.MutationResult.FromString) for channel in channels]

    def insert(call) -> None:
        status = call(request, wait_for_ready=True, timeout=SECONDS_OF_A_CALL).status
        if status.code or status.error_code:
            sys.exit(f"insert: {status.reason}")

    def worker(call) -> int:
        done, until = 0, time.perf_counter() + seconds
        while time.perf_counter() < until:
            insert(call)
            done += 1
        return done

    for call in inserts:
        insert(call)
    before, began = cpu_seconds(pid), time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(calls) as pool:
        done = sum(pool.map(worker, inserts))
    taken, megabytes = time.perf_counter() - began, done * len(request) / 1e6
    for channel in channels:
        channel.close()
    settle(pid)
    # What this server left to the system must not be written during the next one's turn.
    os.sync()
    return done + calls, megabytes / taken, (cpu_seconds(pid) - before) / megabytes * 1e3


def settle(pid: int) -> None:
    """Waits until a process has done nothing for a second."""

    def quiet() -> bool:
        before = cpu_seconds(pid)
        time.sleep(1)
        return cpu_seconds(pid) - before < 0.05

    eventually(quiet, "the server has nothing left to do", 300)


def disk(folder: pathlib.Path, request: bytes, seconds: float) -> float:
    """MB a second of a file that is written message by message, each with an fsync."""
    began, done = time.perf_counter(), 0
    with open(folder / "disk", "wb", buffering=0) as file:
        while time.perf_counter() < began + seconds:
            file.write(request)
            os.fsync(file.fileno())
            done += 1
    taken = time.perf_counter() - began
    (folder / "disk").unlink()
    return done * len(request) / 1e6 / taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000, help="rows of a message (default %(default)s)")
    parser.add_argument("--dim", type=int, default=128, help="(default %(default)s)")
    parser.add_argument("--calls", type=counts, default="1,4", help="calls at a time (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=5, help="of each figure (default %(default)s)")
    parser.add_argument("--serve", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(int(options.serve[0]), *options.serve[1:] or [None])
    request = message(options.rows, options.dim)
    print(f"messages of {options.rows:,} x {options.dim}, {len(request) / 1e6:.1f} MB")
    with tempfile.TemporaryDirectory(prefix="elanus-insert-") as folder:
        print(f"disk with fsync: {disk(pathlib.Path(folder), request, options.seconds):,.0f} MB/s")
        with contextlib.ExitStack() as stack:
            others = {"does nothing": Other(), "only writes": Other(pathlib.Path(folder) / "writes")}
            for other in others.values():
                stack.callback(other.stop)
            elanus = Elanus(pathlib.Path(folder))
            elanus.start()
            stack.callback(elanus.stop)
            client = MilvusClient(elanus.uri)
            schema = client.create_schema(auto_id=True)
            schema.add_field("id", DataType.INT64, is_primary=True)
            schema.add_field("vector", DataType.FLOAT_VECTOR, dim=options.dim)
            client.create_collection(COLLECTION, schema=schema)
            port, sent = int(elanus.uri.rsplit(":", 1)[1]), 0
            for calls in options.calls:
                for name, other in others.items():
                    _, rate, cost = send(other.port, other.pid, request, calls, options.seconds)
                    show(calls, name, rate, cost)
                messages, rate, cost = send(port, elanus.pid, request, calls, options.seconds)
                show(calls, "elanus", rate, cost)
                sent += messages
            client.flush(COLLECTION)
            found = int(client.get_collection_stats(COLLECTION)["row_count"])
            if found != sent * options.rows:
                sys.exit(f"{found:,} rows are there, {sent * options.rows:,} were inserted")


def show(calls: int, name: str, rate: float, cost: float) -> None:
    print(f"{calls} at a time, {name}: {rate:,.0f} MB/s, {cost:.2f} ms of the server's processor for a MB", flush=True)


if __name__ == "__main__":
    main()
