"""Measures the SQL door as an ADBC user sees it: ingest, prepared searches at equal recall, scans, next to its peers.

    python flight.py                                    200,000 x 128 made on the spot
    python flight.py --base b.npy --queries q.npy       another set
    python flight.py --peer lancedb                     the same search with lancedb in the same run, with ratios

Ingest (rows appended to an empty table, from pyarrow's client and from ADBC) is compared with what pyarrow's own Flight
server takes over the loopback from the same client when it throws the rows away, and with what the disk takes with an
fsync: the difference is what it costs to check and to log them. In the same way prepared searches are compared with a
server that answers each with the same ten rows: the driver takes three calls for one search, and that is their cost.
The server runs in a temporary directory.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import sys
import tempfile
import threading
import time

import adbc_driver_flightsql.dbapi as flightsql
import adbc_driver_manager
import numpy as np
import pyarrow as pa
import pyarrow.flight

here = pathlib.Path(__file__).resolve()
sys.path[:0] = [str(here.parent), str(here.parents[2] / "server" / "tests-e2e")]
from data import exact_neighbours, mixture  # noqa: E402
from harness import Server  # noqa: E402

K = 10


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def table_of(base: np.ndarray) -> pa.Table:
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(base.reshape(-1)), base.shape[1])
    return pa.table({"id": np.arange(len(base)), "n": np.arange(len(base)) % 1000, "v": vectors})


class Sink(pa.flight.FlightServerBase):
    """Takes rows and forgets them."""

    def do_put(self, context, descriptor, reader, writer):
        for _ in reader:
            pass
        writer.write(b"")


def put(location: str, descriptor: pa.flight.FlightDescriptor, table: pa.Table, batch_rows: int) -> float:
    """Seconds from the first byte of an upload to its answer."""
    with pa.flight.connect(location) as client:
        started = time.perf_counter()
        writer, answers = client.do_put(descriptor, table.schema)
        writer.write_table(table, max_chunksize=batch_rows)
        writer.done_writing()
        answers.read()
        writer.close()
        return time.perf_counter() - started


def field(number: int, value: bytes) -> bytes:
    """A length-delimited field of a protobuf message, for values of fewer than 16,384 bytes."""
    length = bytes([len(value)]) if len(value) < 128 else bytes([len(value) & 127 | 128, len(value) >> 7])
    return bytes([number << 3 | 2]) + length + value


def append_to(table: str) -> pa.flight.FlightDescriptor:
    """An upload that is appended to a table: a `CommandStatementIngest` as bytes."""
    kind = b"type.googleapis.com/arrow.flight.protocol.sql.CommandStatementIngest"
    fail_if_not_there, append_if_there = bytes([1 << 3, 2]), bytes([2 << 3, 2])
    command = field(1, fail_if_not_there + append_if_there) + field(2, table.encode())
    return pa.flight.FlightDescriptor.for_command(field(1, kind) + field(2, command))


def disk(folder: str, size: int) -> float:
    """Seconds to write so many bytes to a new file of the same disk and to sync it."""
    block = np.random.default_rng(0).bytes(1 << 20)
    started = time.perf_counter()
    with open(f"{folder}/disk", "wb", buffering=0) as file:
        for _ in range(0, size, len(block)):
            file.write(block)
        os.fdatasync(file.fileno())
    took = time.perf_counter() - started
    os.unlink(f"{folder}/disk")
    return took


def ingest(server, cursor, folder: str, table: pa.Table, batch_rows: int, rounds: int = 5) -> dict:
    """Appends all rows to an empty table; the ways to do it, and what bounds them, in turn."""
    took: dict[str, list[float]] = {}
    with Sink("grpc://127.0.0.1:0") as sink:
        threading.Thread(target=sink.serve, daemon=True).start()
        for number in range(rounds):
            name = f"ingest_{batch_rows}_{number}"
            dim = table.schema.field("v").type.list_size
            cursor.execute(f"CREATE TABLE {name} (id BIGINT PRIMARY KEY, n BIGINT, v VECTOR({dim}))")
            ways = {
                "do_put": lambda name=name: put(server.flight, append_to(name), table, batch_rows),
                "raw_do_put": lambda: put(f"grpc://127.0.0.1:{sink.port}", pa.flight.FlightDescriptor.for_path("x"), table, batch_rows),
                "disk": lambda: disk(folder, table.nbytes),
                "adbc": lambda name=name: adbc(cursor, name, table, batch_rows, "append"),
            }
            for way, run in ways.items():
                took.setdefault(way, []).append(run())
            cursor.execute(f"SELECT count(*) FROM {name}")
            assert cursor.fetchone()[0] == 2 * len(table)
            cursor.execute(f"DROP TABLE {name}")
        sink.shutdown()
    figures: dict = {f"{way}_mb_per_s": table.nbytes / float(np.median(times)) / 1e6 for way, times in took.items()}
    figures["rows_per_s"] = len(table) / float(np.median(took["do_put"]))
    figures["of_raw_do_put"] = figures["do_put_mb_per_s"] / figures["raw_do_put_mb_per_s"]
    figures["best_mb_per_s"] = table.nbytes / min(took["do_put"]) / 1e6
    return figures


def adbc(cursor, name: str, table: pa.Table, batch_rows: int, mode: str) -> float:
    reader = pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=batch_rows))
    started = time.perf_counter()
    cursor.adbc_ingest(name, reader, mode=mode)
    return time.perf_counter() - started


class Still(pa.flight.FlightServerBase):
    """Answers every prepared search with the same rows: what the driver and the calls take when a server does nothing."""

    rows = pa.table({"id": np.arange(K)})

    def do_action(self, context, action):
        if action.type != "CreatePreparedStatement":
            return []
        handle = field(1, b"1") + field(2, self.rows.schema.serialize().to_pybytes())
        kind = b"type.googleapis.com/arrow.flight.protocol.sql.ActionCreatePreparedStatementResult"
        return [pa.flight.Result(field(1, kind) + field(2, handle))]

    def do_put(self, context, descriptor, reader, writer):
        reader.read_all()

    def get_flight_info(self, context, descriptor):
        if b"CommandGetSqlInfo" in descriptor.command:
            raise NotImplementedError
        endpoint = pa.flight.FlightEndpoint(b"rows", [])
        return pa.flight.FlightInfo(self.rows.schema, descriptor, [endpoint], -1, -1)

    def do_get(self, context, ticket):
        return pa.flight.RecordBatchStream(self.rows)


def still(queries: np.ndarray, seconds: float) -> dict:
    """Prepared searches against a server that does nothing."""
    with Still("grpc://127.0.0.1:0") as server:
        threading.Thread(target=server.serve, daemon=True).start()
        with flightsql.connect(f"grpc://127.0.0.1:{server.port}", autocommit=True) as connection:
            search = Prepared(connection, "the same rows")
            figures = timed(search, queries, seconds)
            search.statement.close()
        server.shutdown()
    say(f"a server that does nothing: {figures}")
    return figures


def recall(found: list[list[int]], truth: np.ndarray) -> float:
    return float(np.mean([len(set(ids) & set(wanted[:K])) / K for ids, wanted in zip(found, truth)]))


def timed(search, queries: np.ndarray, seconds: float) -> dict:
    """Runs searches one after the other for a while."""
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for query in queries:
            started = time.perf_counter()
            search(query)
            times.append(time.perf_counter() - started)
    times = np.array(times)
    return {
        "qps": float(len(times) / times.sum()),
        "p50_ms": float(np.percentile(times, 50) * 1e3),
        "p99_ms": float(np.percentile(times, 99) * 1e3),
    }


class Prepared:
    """A statement that is prepared once, and bound and run for each query, with the least that ADBC needs."""

    def __init__(self, connection, sql: str):
        self.statement = adbc_driver_manager.AdbcStatement(connection.adbc_connection)
        self.statement.set_sql_query(sql)
        self.statement.prepare()

    def __call__(self, query: np.ndarray) -> list[int]:
        vector = pa.FixedSizeListArray.from_arrays(pa.array(query), len(query))
        batch = pa.record_batch([vector], names=["q"])
        schema, array = adbc_driver_manager.ArrowSchemaHandle(), adbc_driver_manager.ArrowArrayHandle()
        batch._export_to_c(array.address, schema.address)
        self.statement.bind(array, schema)
        stream, _ = self.statement.execute_query()
        return pa.RecordBatchReader._import_from_c(stream.address).read_all()["id"].to_pylist()


def elanus(base, queries, truth, efs, seconds) -> dict:
    figures: dict = {}
    table = table_of(base)
    with tempfile.TemporaryDirectory() as folder:
        server = Server(pathlib.Path(folder)).start()
        connection = flightsql.connect(server.flight, autocommit=True)
        cursor = connection.cursor()
        # A message of ADBC has at most 16 MiB unless it is told otherwise.
        for batch_bytes in (5 << 20, 12 << 20):
            batch_rows = batch_bytes * len(base) // table.nbytes
            figures[f"ingest, batches of {batch_bytes >> 20} MiB"] = ingest(server, cursor, folder, table, batch_rows)
            say(f"elanus: ingest {figures[f'ingest, batches of {batch_bytes >> 20} MiB']}")
        adbc(cursor, "items", table, 10_000, "create")
        started = time.perf_counter()
        cursor.execute("CREATE INDEX items_v ON items USING HNSW (v vector_l2_ops) WITH (m = 16, ef_construction = 200)")
        figures["index_s"] = time.perf_counter() - started
        search = Prepared(connection, f"SELECT id FROM items ORDER BY v <-> ? LIMIT {K}")
        figures["searches"] = []
        for ef in efs:
            cursor.execute(f"SET elanus.ef_search = {ef}")
            quality = recall([search(query) for query in queries], truth)
            figures["searches"].append({"ef": ef, "recall": quality, **timed(search, queries, seconds)})
            say(f"elanus: {figures['searches'][-1]}")
        for name, sql in {
            "group by over the 10,000 nearest": "SELECT n % 10 AS d, count(*) FROM (SELECT n FROM items ORDER BY v <-> ? LIMIT 10000) GROUP BY 1",
            "join of the 10 nearest with all rows": f"SELECT o.id FROM (SELECT n FROM items ORDER BY v <-> ? LIMIT {K}) h JOIN items o ON o.n = h.n",
        }.items():
            query = pa.record_batch([pa.FixedSizeListArray.from_arrays(pa.array(queries[0]), base.shape[1])], names=["q"])
            took = []
            for _ in range(5):
                started = time.perf_counter()
                cursor.execute(sql, parameters=query)
                cursor.fetch_arrow_table()
                took.append(time.perf_counter() - started)
            figures[name] = {"ms": min(took) * 1e3}
            say(f"elanus: {name}: {figures[name]}")
        for name, columns in {"scan of two columns": "id, n", "scan of the vectors": "id, v"}.items():
            took = []
            for _ in range(3):
                started = time.perf_counter()
                cursor.execute(f"SELECT {columns} FROM items")
                rows = cursor.fetch_arrow_table()
                took.append(time.perf_counter() - started)
            assert rows.num_rows == len(base)
            figures[name] = {"rows_per_s": len(base) / min(took), "mb_per_s": rows.nbytes / min(took) / 1e6}
            say(f"elanus: {name}: {figures[name]}")
        search.statement.close()
        cursor.close()
        connection.close()
        server.stop()
    return figures


def lancedb(base, queries, truth, efs, seconds) -> dict:
    import lancedb

    figures: dict = {}
    table = table_of(base)
    with tempfile.TemporaryDirectory() as folder:
        database = lancedb.connect(folder)
        started = time.perf_counter()
        items = database.create_table("items", table)
        took = time.perf_counter() - started
        figures["ingest"] = {"rows_per_s": len(base) / took, "mb_per_s": table.nbytes / took / 1e6}
        say(f"lancedb: ingest {figures['ingest']}")
        started = time.perf_counter()
        items.create_index(
            metric="l2", vector_column_name="v", index_type="IVF_HNSW_SQ", num_partitions=1, m=16, ef_construction=200
        )
        figures["index_s"] = time.perf_counter() - started
        figures["searches"] = []
        for ef in efs:

            def search(query, ef=ef):
                found = items.search(query, vector_column_name="v").limit(K).ef(ef).refine_factor(2).select(["id", "_distance"])
                return found.to_arrow()["id"].to_pylist()

            quality = recall([search(query) for query in queries[:200]], truth[:200])
            figures["searches"].append({"ef": ef, "recall": quality, **timed(search, queries[:200], seconds)})
            say(f"lancedb: {figures['searches'][-1]}")
    return figures


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--base", type=pathlib.Path)
    options.add_argument("--queries", type=pathlib.Path)
    options.add_argument("--peer", choices=["lancedb"])
    options.add_argument("--ef", type=int, nargs="+", default=[32, 64])
    options.add_argument("--seconds", type=float, default=5, help="how long each search is repeated")
    given = options.parse_args()
    if given.base and given.queries:
        base, queries = np.load(given.base), np.load(given.queries)
    else:
        base, queries = mixture(200_000, 1_000, 128)
    truth = exact_neighbours(base, queries, "L2")
    report = {"rows": len(base), "dim": base.shape[1], "elanus": elanus(base, queries, truth, given.ef, given.seconds)}
    report["still"] = still(queries, given.seconds)
    report["of_still"] = [search["qps"] / report["still"]["qps"] for search in report["elanus"]["searches"]]
    if given.peer:
        report["lancedb"] = lancedb(base, queries, truth, given.ef, given.seconds)
        ours, theirs = report["elanus"]["searches"], report["lancedb"]["searches"]
        report["ratio"] = [a["qps"] / b["qps"] for a, b in zip(ours, theirs)]
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
