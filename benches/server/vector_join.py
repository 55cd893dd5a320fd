"""Measures a vector join as an ADBC user sees it: the nearest rows of 1,000 vectors in one statement, and one by one.

    python vector_join.py                               200,000 x 128 made on the spot
    python vector_join.py --base b.npy --queries q.npy  another set

Without an index both compare every row; both also run through an HNSW index. The single searches are prepared once, so
what a statement costs to plan is not in them. The rows found are compared, too.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
import tempfile
import time

import adbc_driver_flightsql.dbapi as flightsql
import numpy as np
import pyarrow as pa

here = pathlib.Path(__file__).resolve()
sys.path[:0] = [str(here.parent), str(here.parents[2] / "server" / "tests-e2e")]
from data import mixture  # noqa: E402
from flight import K, Prepared, say, table_of  # noqa: E402
from harness import Server  # noqa: E402

INDEX = "CREATE INDEX items_v ON items USING HNSW (v vector_l2_ops) WITH (m = 16, ef_construction = 200)"
JOIN = f"SELECT q.id AS q, i.id FROM q, vector_search(items, q.v, {K}, metric => 'l2') i ORDER BY q.id, i._distance, i.id"
SINGLE = f"SELECT id FROM items ORDER BY v <-> ?, id LIMIT {K}"


def compare(connection, cursor, queries: np.ndarray) -> dict:
    """Both ways once, after a first run of each."""
    search = Prepared(connection, SINGLE)
    search(queries[0])
    started = time.perf_counter()
    singly = [search(query) for query in queries]
    single_s = time.perf_counter() - started
    search.statement.close()
    cursor.execute(JOIN)
    cursor.fetch_arrow_table()
    started = time.perf_counter()
    cursor.execute(JOIN)
    joined = cursor.fetch_arrow_table()
    join_s = time.perf_counter() - started
    ids = joined["id"].to_numpy().reshape(len(queries), K)
    same = float(np.mean([len(set(a) & set(b)) / K for a, b in zip(singly, ids.tolist())]))
    return {"single_s": single_s, "join_s": join_s, "ratio": single_s / join_s, "same_rows": same}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--base", type=pathlib.Path)
    options.add_argument("--queries", type=pathlib.Path)
    given = options.parse_args()
    if given.base and given.queries:
        base, queries = np.load(given.base), np.load(given.queries)
    else:
        base, queries = mixture(200_000, 1_000, 128)
    report: dict = {"rows": len(base), "dim": base.shape[1], "queries": len(queries)}
    with tempfile.TemporaryDirectory() as folder:
        server = Server(pathlib.Path(folder)).start()
        with flightsql.connect(server.flight, autocommit=True) as connection, connection.cursor() as cursor:
            for name, rows in {"items": base, "q": queries}.items():
                table = table_of(rows)
                batches = table.to_batches(max_chunksize=10_000)
                cursor.adbc_ingest(name, pa.RecordBatchReader.from_batches(table.schema, batches), mode="replace")
            report["no index"] = compare(connection, cursor, queries)
            say(f"no index: {report['no index']}")
            cursor.execute(INDEX)
            report["HNSW"] = compare(connection, cursor, queries)
            say(f"HNSW: {report['HNSW']}")
        server.stop()
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
