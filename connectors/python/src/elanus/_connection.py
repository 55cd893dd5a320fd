"""A connection: ADBC underneath, numpy on the way in, Arrow and frames on the way out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import adbc_driver_flightsql.dbapi as flightsql
import pyarrow as pa

from . import _arrow

if TYPE_CHECKING:
    import pandas
    import polars
    from adbc_driver_manager.dbapi import Connection as AdbcConnection

DEFAULT_URI = "grpc://127.0.0.1:31337"


# So that settings and prepared statements outlive a broken connection.
COOKIES = "adbc.flight.sql.rpc.with_cookie_middleware"


def connect(uri: str = DEFAULT_URI, **options: str) -> Connection:
    """Connects to a server; `options` are database options of the ADBC Flight SQL driver: `username` and `password` where the
    server asks for a user."""
    return Connection(flightsql.connect(uri, db_kwargs={COOKIES: "true"} | options, autocommit=True))


class Result:
    """The rows of one statement."""

    def __init__(self, rows: pa.Table):
        self._rows = rows

    def arrow(self) -> pa.Table:
        return self._rows

    def pandas(self) -> pandas.DataFrame:
        return self._rows.to_pandas()

    def polars(self) -> polars.DataFrame:
        import polars

        return polars.from_arrow(self._rows)

    def rows(self) -> list[dict[str, Any]]:
        return self._rows.to_pylist()

    def __len__(self) -> int:
        return self._rows.num_rows

    def __repr__(self) -> str:
        return f"{self._rows.num_rows} rows of {', '.join(self._rows.column_names) or 'no columns'}"


class Connection:
    """One session; settings made with SET last as long as it, also when the network breaks and the driver connects
    again. Not for several threads at a time."""

    def __init__(self, adbc: AdbcConnection):
        self.adbc = adbc

    def sql(self, statement: str, *parameters: Any) -> Result:
        """Runs one statement; `parameters` are the values of `?` or `$1, $2, ..`."""
        return self._run(statement, _arrow.parameters([parameters]) if parameters else None)

    def sql_many(self, statement: str, rows: Iterable[Sequence[Any]]) -> Result:
        """Runs a statement for many rows of parameters: an INSERT, or changes of different keys, as one write, a query as one batch."""
        rows = list(rows)
        return self._run(statement, _arrow.parameters(rows)) if rows else Result(pa.table({}))

    def _run(self, statement: str, parameters: pa.RecordBatch | None) -> Result:
        with self.adbc.cursor() as cursor:
            cursor.execute(statement, parameters=parameters)
            return Result(cursor.fetch_arrow_table())

    def ingest(
        self, table: str, rows: Any, mode: Literal["create", "append", "replace", "create_append"] = "append"
    ) -> int:
        """Loads rows in bulk, all or none of them; returns how many."""
        with self.adbc.cursor() as cursor:
            return cursor.adbc_ingest(table, _arrow.table(rows), mode=mode)

    def close(self) -> None:
        self.adbc.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
