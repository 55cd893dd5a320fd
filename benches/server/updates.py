"""Searches beside single-row updates: what 2,000 updates a second cost the searches.

    python updates.py --base base.npy --queries queries.npy [--seconds 60] [--rate 2000] [--clients 8]

Needs adbc-driver-flightsql, pymilvus, numpy, pyarrow, and a built `elanus` (`--binary`). Loads the vectors with an integer
column, builds HNSW, then searches at a fixed rate (nq=1, through the Milvus door) for a while alone and for a while beside
clients that run `UPDATE docs SET n = ? WHERE id = ?` over Flight SQL: each update its own durable statement, or with
`--batch 100` so many rows of parameters in one. Prints one JSON object with the rates reached and the latencies in
milliseconds.
"""

import argparse
import json
import os
import random
import socket
import subprocess
import tempfile
import threading
import time

import adbc_driver_flightsql.dbapi as flight
import numpy as np
import pyarrow as pa
from pymilvus import MilvusClient


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(binary, folder):
    ports = [free_port() for _ in range(3)]
    flags = ["--milvus-addr", "--flight-addr", "--http-addr"]
    command = [binary, "serve", "--data", folder]
    for flag, port in zip(flags, ports):
        command += [flag, f"127.0.0.1:{port}"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", ports[1]), timeout=1).close()
            return server, ports
        except OSError:
            time.sleep(0.05)
    raise SystemExit("the server does not listen")


def search_for(client, queries, seconds, rate):
    """Latencies of searches started at a fixed rate; one that is late is started at once, and its lateness counts."""
    latencies = []
    begin = time.perf_counter()
    for number in range(int(seconds * rate)):
        due = begin + number / rate
        now = time.perf_counter()
        if due > now:
            time.sleep(due - now)
        query = queries[number % len(queries)].tolist()
        client.search("docs", data=[query], limit=10, output_fields=["n"], search_params={"params": {"ef": 64}})
        latencies.append((time.perf_counter() - due) * 1000)
    return latencies


def told(latencies):
    p50, p99 = np.percentile(latencies, [50, 99])
    return {"searches": len(latencies), "p50_ms": round(p50, 2), "p99_ms": round(p99, 2)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True)
    parser.add_argument("--queries", required=True)
    parser.add_argument("--binary", default=os.environ.get("ELANUS_BIN", "elanus"))
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rate", type=int, default=2000, help="updates a second")
    parser.add_argument("--searches", type=int, default=200, help="searches a second")
    parser.add_argument("--clients", type=int, default=8, help="connections that update")
    parser.add_argument("--batch", type=int, default=1, help="rows of parameters of each statement")
    options = parser.parse_args()
    base, queries = np.load(options.base).astype(np.float32), np.load(options.queries).astype(np.float32)
    rows, dim = base.shape

    with tempfile.TemporaryDirectory() as folder:
        server, (milvus, sql, _) = start(options.binary, folder)
        try:
            address = f"grpc://127.0.0.1:{sql}"
            with flight.connect(address, autocommit=True) as connection, connection.cursor() as cursor:
                cursor.execute(f"CREATE TABLE docs (id BIGINT PRIMARY KEY, n BIGINT, v VECTOR({dim}) NOT NULL)")
                vectors = pa.FixedSizeListArray.from_arrays(pa.array(base.reshape(-1)), dim)
                table = pa.table({"id": pa.array(range(rows)), "n": pa.array([0] * rows), "v": vectors})
                cursor.adbc_ingest("docs", table.to_reader(10_000), mode="append")
                cursor.execute("CREATE INDEX docs_v ON docs USING hnsw (v vector_l2_ops) WITH (m = 16, ef_construction = 200)")
            client = MilvusClient(f"http://127.0.0.1:{milvus}")
            client.load_collection("docs")
            search_for(client, queries, 1, options.searches)
            alone = search_for(client, queries, options.seconds / 2, options.searches)

            done, stop = [0] * options.clients, threading.Event()

            def update(number):
                choose = random.Random(number)
                with flight.connect(address, autocommit=True) as connection, connection.cursor() as cursor:
                    begin = time.perf_counter()
                    while not stop.is_set():
                        ahead = done[number] / (options.rate / options.clients) - (time.perf_counter() - begin)
                        if ahead > 0:
                            time.sleep(ahead)
                        changes = [(done[number], row) for row in choose.sample(range(rows), options.batch)]
                        cursor.executemany("UPDATE docs SET n = ? WHERE id = ?", changes)
                        done[number] += options.batch

            threads = [threading.Thread(target=update, args=(number,)) for number in range(options.clients)]
            begin = time.perf_counter()
            for thread in threads:
                thread.start()
            beside = search_for(client, queries, options.seconds, options.searches)
            stop.set()
            for thread in threads:
                thread.join()
            took = time.perf_counter() - begin
            print(json.dumps({
                "updates_per_second": round(sum(done) / took),
                "search_alone": told(alone),
                "search_beside_updates": told(beside),
            }, indent=1))
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
