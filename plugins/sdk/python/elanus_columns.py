"""Columns of the contract as sequences of Python values, and back."""

from collections.abc import Sequence

from elanus_plugin import Refused, Row, Unsupported, Vector
from wit_world.imports import types

try:
    # In the worlds with rights. Where there are no files, what is imported later has to be there before.
    from wit_world.imports import clock, log, random  # noqa: F401
except ImportError:
    pass

KINDS = {
    "f64s": types.ColumnKind_F64s(),
    "s64s": types.ColumnKind_S64s(),
    "bools": types.ColumnKind_Bools(),
    "text": types.ColumnKind_Text(),
    "vectors": types.ColumnKind_Vectors(0),
}


# Those of the SDK: an author looks for a line elsewhere.
OWN_FILES = ("elanus_plugin/__init__.py", "elanus_columns.py", "elanus_reranking.py", "elanus_functions.py")


class Vectors(Sequence[Vector]):
    """Vectors that are cut out of one list when they are asked for."""

    def __init__(self, data: types.VectorData):
        self.dim, self.values = data.dim, data.values

    def __len__(self) -> int:
        return len(self.values) // self.dim if self.dim else 0

    def __getitem__(self, row):
        if isinstance(row, slice):
            return [self[at] for at in range(*row.indices(len(self)))]
        if row < 0:
            row += len(self)
        if not 0 <= row < len(self):
            raise IndexError(f"vector {row} of {len(self)}")
        return self.values[row * self.dim : (row + 1) * self.dim]


def texts(data: types.TextData) -> list[str]:
    offsets, text = data.offsets, data.bytes
    return [text[start:end].decode() for start, end in zip(offsets, offsets[1:])]


def values(column: types.Column) -> Sequence[Row]:
    """One value per row, None for a null."""
    data = column.data
    if isinstance(data, types.ColumnData_Text):
        rows: Sequence[Row] = texts(data.value)
    elif isinstance(data, types.ColumnData_Vectors):
        rows = Vectors(data.value)
    elif isinstance(data, types.ColumnData_Bools):
        rows = [value != 0 for value in data.value]
    elif isinstance(data, types.ColumnData_Ipc):
        raise Unsupported("a column of another Arrow type")
    else:
        rows = data.value
    if column.validity is None:
        return rows
    return [row if valid else None for row, valid in zip(rows, column.validity)]


def column(kind: str, rows: list[Row]) -> types.Column:
    """A column of the results of a function."""
    validity = bytes(row is not None for row in rows) if None in rows else None
    return types.Column(data(kind, rows), validity)


def data(kind: str, rows: list[Row]) -> types.ColumnData:
    if kind == "f64s":
        return types.ColumnData_F64s([0.0 if row is None else float(row) for row in rows])
    if kind == "s64s":
        return types.ColumnData_S64s([0 if row is None else row for row in rows])
    if kind == "bools":
        return types.ColumnData_Bools(bytes(bool(row) for row in rows))
    if kind == "text":
        encoded = [b"" if row is None else row.encode() for row in rows]
        offsets = [0]
        for text in encoded:
            offsets.append(offsets[-1] + len(text))
        return types.ColumnData_Text(types.TextData(offsets, b"".join(encoded)))
    return vectors(rows)


def vectors(rows: list[Row]) -> types.ColumnData:
    dim = next((len(row) for row in rows if row is not None), 0)
    flat: list[float] = []
    for row in rows:
        if row is not None and len(row) != dim:
            raise ValueError(f"vectors of {dim} and of {len(row)} dimensions")
        flat.extend([0.0] * dim if row is None else row)
    return types.ColumnData_Vectors(types.VectorData(dim, flat))


def error(raised: Exception) -> types.Error:
    """What the user is told of an exception, with the author's line that led to it unless it was meant."""
    if isinstance(raised, Refused):
        return types.Error_InvalidArgument(str(raised))
    if isinstance(raised, Unsupported):
        return types.Error_Unsupported(str(raised))
    place = ""
    at = raised.__traceback__
    while at is not None:
        file = at.tb_frame.f_code.co_filename
        if not file.endswith(OWN_FILES):
            place = f" ({file.rpartition('/')[2]}, line {at.tb_lineno})"
        at = at.tb_next
    return types.Error_Internal(f"{type(raised).__name__}: {raised}{place}")
