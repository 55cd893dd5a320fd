"""From what Python programs have to Arrow: vectors are fixed-size lists of 32-bit floats."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa


def vectors(matrix: np.ndarray) -> pa.FixedSizeListArray:
    """The rows of a two-dimensional array as a column of vectors."""
    if matrix.ndim != 2:
        raise ValueError(f"vectors are the rows of a two-dimensional array, this one has {matrix.ndim} dimensions")
    flat = np.ascontiguousarray(matrix, dtype=np.float32).reshape(-1)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), matrix.shape[1])


def column(values: Any) -> pa.Array | pa.ChunkedArray:
    """A column from an array, a list or Arrow data."""
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return values
    if isinstance(values, np.ndarray) and values.ndim == 2:
        return vectors(values)
    if not isinstance(values, np.ndarray) and _are_vectors(values):
        return vectors(np.stack(list(values)))
    return pa.array(values)


def _are_vectors(values: Any) -> bool:
    return (
        isinstance(values, Sequence)
        and len(values) > 0
        and all(isinstance(value, np.ndarray) and value.ndim == 1 for value in values)
    )


def table(rows: Any) -> Any:
    """Rows in a form that ADBC ingests: dictionaries become Arrow tables, frames and Arrow data stay."""
    if isinstance(rows, Mapping):
        return pa.table({name: column(values) for name, values in rows.items()})
    if isinstance(rows, (pa.Table, pa.RecordBatch, pa.RecordBatchReader)):
        return rows
    if hasattr(rows, "to_arrow"):  # polars
        return rows.to_arrow()
    if hasattr(rows, "iloc"):  # pandas
        return pa.Table.from_pandas(rows, preserve_index=False)
    if hasattr(rows, "__arrow_c_stream__"):
        return pa.table(rows)
    raise TypeError(
        f"rows are a dictionary of columns, Arrow data, or a pandas or polars frame, not {type(rows).__name__}"
    )


def parameters(rows: Iterable[Sequence[Any]]) -> pa.RecordBatch:
    """Rows of parameter values as one batch."""
    columns = list(zip(*rows, strict=True))
    return pa.record_batch([column(list(values)) for values in columns], names=[f"p{n}" for n in range(len(columns))])
