"""What a Flight SQL server can do for ADBC, in twelve steps: which work and, for those that do not, why.

    python steps.py grpc://127.0.0.1:31337                  any server that listens
    python steps.py grpc://127.0.0.1:31337 --user u --password p
    python steps.py grpc://127.0.0.1:31337 --no-key         for one that has no primary keys

Needs adbc-driver-flightsql, pyarrow, pandas, polars. Each step has a connection of its own; one that fails does not stop
the others. The statements are plain SQL that every one of these servers could answer.
"""

import argparse
import multiprocessing
import sys

import adbc_driver_flightsql.dbapi as flight
import pyarrow as pa

TABLE = "twelve_steps"


def equal(found, wanted):
    if found != wanted:
        raise AssertionError(f"{found!r} instead of {wanted!r}")


def one(cursor, sql, *parameters):
    cursor.execute(sql, *parameters)
    return cursor.fetchall()


def execute(connection, cursor):
    equal(one(cursor, "SELECT 1 + 1 AS two, 'text' AS t"), [(2, "text")])


def definitions(connection, cursor, key):
    cursor.execute(f"DROP TABLE IF EXISTS {TABLE}")
    cursor.execute(f"CREATE TABLE {TABLE} (id BIGINT{key}, name VARCHAR(20))")
    equal(one(cursor, f"SELECT count(*) FROM {TABLE}"), [(0,)])


def changes(connection, cursor):
    cursor.execute(f"INSERT INTO {TABLE} (id, name) VALUES (1, 'a'), (2, 'b')")
    equal(one(cursor, f"SELECT id, name FROM {TABLE} ORDER BY id"), [(1, "a"), (2, "b")])


def parameters(connection, cursor):
    equal(one(cursor, "SELECT CAST($1 AS BIGINT) + 1", (41,)), [(42,)])


def executemany(connection, cursor):
    cursor.executemany(f"INSERT INTO {TABLE} (id, name) VALUES ($1, $2)", [(3, "c"), (4, "d")])
    equal(one(cursor, f"SELECT count(*) FROM {TABLE} WHERE id IN (3, 4)"), [(2,)])


def read_partition(options, partition, rows):
    with flight.connect(**options) as connection, connection.cursor() as cursor:
        cursor.adbc_read_partition(partition)
        rows.put(cursor.fetch_arrow_table().num_rows)


def partitions(connection, cursor, options):
    parts, _ = cursor.adbc_execute_partitions("SELECT * FROM (VALUES (1), (2), (3)) AS v (n)")
    connection.close()
    # A new process: the driver does not survive a fork.
    new = multiprocessing.get_context("spawn")
    rows, total = new.Queue(), 0
    for part in parts:
        reader = new.Process(target=read_partition, args=(options, part, rows))
        reader.start()
        total += rows.get(timeout=20)
        reader.join()
    equal(total, 3)


def info(connection, cursor):
    if not connection.adbc_get_info().get("vendor_name"):
        raise AssertionError("no vendor name")


def objects(connection, cursor):
    catalogs = connection.adbc_get_objects(depth="columns").read_all().to_pylist()
    schemas = [schema for catalog in catalogs for schema in catalog["catalog_db_schemas"] or []]
    tables = {table["table_name"]: table for schema in schemas for table in schema["db_schema_tables"] or []}
    if not tables:
        raise AssertionError("no tables")
    if not any(table["table_columns"] for table in tables.values()):
        raise AssertionError("no columns")


def table_schema(connection, cursor):
    equal(connection.adbc_get_table_schema(TABLE).names, ["id", "name"])


def table_types(connection, cursor):
    if not connection.adbc_get_table_types():
        raise AssertionError("none")


def ingest(connection, cursor):
    rows = pa.table({"id": pa.array([1, 2, 3], pa.int64()), "name": ["x", "y", "z"]})
    cursor.adbc_ingest(f"{TABLE}_ingested", rows, mode="replace")
    equal(one(cursor, f"SELECT count(*) FROM {TABLE}_ingested"), [(3,)])


def frames(connection, cursor):
    import pandas
    import polars

    query = "SELECT * FROM (VALUES (1, 'a'), (2, 'b')) AS v (n, t)"
    equal(len(pandas.read_sql(query, connection)), 2)
    equal(polars.read_database(query, connection).height, 2)


STEPS = {
    "execute": execute,
    "definitions": definitions,
    "changes": changes,
    "prepared parameters": parameters,
    "executemany": executemany,
    "partitions in another process": partitions,
    "get_info": info,
    "get_objects": objects,
    "get_table_schema": table_schema,
    "get_table_types": table_types,
    "ingest": ingest,
    "pandas and polars": frames,
}


def run(name, options, key, outcome):
    """One step, in a process of its own: some drivers do not survive some servers."""
    try:
        with flight.connect(**options) as connection, connection.cursor() as cursor:
            more = {partitions: (options,), definitions: (key,)}.get(STEPS[name], ())
            STEPS[name](connection, cursor, *more)
        outcome.put(None)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the outcome
        outcome.put(f"{type(error).__name__}: {error}".splitlines()[0][:150])


def main():
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("uri")
    given.add_argument("--user")
    given.add_argument("--password", default="")
    given.add_argument("--no-key", action="store_true", help="tables without PRIMARY KEY")
    given = given.parse_args()
    key = "" if given.no_key else " PRIMARY KEY"
    options = {"uri": given.uri, "autocommit": True}
    if given.user:
        options["db_kwargs"] = {"username": given.user, "password": given.password}
    passed = 0
    for name in STEPS:
        outcome = multiprocessing.Queue()
        step = multiprocessing.Process(target=run, args=(name, options, key, outcome))
        step.start()
        step.join(60)
        if step.is_alive():
            step.kill()
        failure = outcome.get() if not outcome.empty() else "the client ended, or did not within a minute"
        passed += failure is None
        print(f"{'ok    ' if failure is None else 'FAILED'} {name}{'' if failure is None else ': ' + failure}")
    print(f"{passed} of {len(STEPS)}")
    sys.exit(passed < len(STEPS))


if __name__ == "__main__":
    main()
