"""Random collections and random filters over them, each from a seed.

Every filter is one that the grammar of Milvus takes. What is left out on purpose is where `milvus-lite` and Milvus itself are
known to part; `test_milvus_lite.py` has these cases one by one, with the rule.
"""

from __future__ import annotations

import random

INTEGERS = ("INT8", "INT16", "INT32", "INT64")
FLOATS = ("FLOAT", "DOUBLE")
KINDS = ("BOOL", *INTEGERS, *FLOATS, "VARCHAR", "JSON", *(f"ARRAY:{item}" for item in ("INT64", "INT8", "DOUBLE", "BOOL", "VARCHAR")))
TEXTS = ("alpha", "beta", "Alpha", "al_ha", "100%", "", "a", "ab", "abc", "zeta")
NUMBERS = {False: (-100, -3, -2, -1, 0, 1, 2, 3, 4, 5, 7, 10, 100), True: (-2.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 10.25)}
# Keys of documents and what is under them: a comparison of values of different types is one of the known differences.
KEYS = {"a": "NUMBER", "b": "BOOL", "c": "VARCHAR", "d": "NESTED"}
DYNAMIC = {"x": "NUMBER", "y": "BOOL", "z": "VARCHAR", "w": "NESTED"}


class Expressions:
    """A collection's fields, rows and filters."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)
        self.fields = {f"f{i}": (self.random.choice(KINDS), self.random.random() < 0.5) for i in range(self.random.randint(5, 9))}
        self.dynamic = self.random.random() < 0.7

    # Rows.

    def row(self, key: int) -> dict:
        row: dict = {"id": key, "v": [float(key), 1.0]}
        row.update({name: self._value(kind, nullable) for name, (kind, nullable) in self.fields.items()})
        if self.dynamic:
            row.update(self._document(DYNAMIC))
        return row

    def _value(self, kind: str, nullable: bool):
        if nullable and self._chance(0.2):
            return None
        if kind == "JSON":
            return self._document(KEYS)
        if kind.startswith("ARRAY:"):
            return [self._scalar(kind[6:]) for _ in range(self.random.randint(0, 4))]
        return self._scalar(kind)

    def _document(self, keys: dict, depth: int = 0) -> dict:
        return {key: self._under(kind, depth) for key, kind in keys.items() if self._chance(0.7)}

    def _under(self, kind: str, depth: int):
        if self._chance(0.1):
            return None
        if kind == "NESTED":
            return self._document(KEYS, depth + 1) if depth < 2 and self._chance(0.6) else [self._scalar("INT64") for _ in range(3)]
        return self._scalar(self._number() if kind == "NUMBER" else kind)

    def _scalar(self, kind: str):
        if kind == "BOOL":
            return self._chance(0.5)
        return self._of(TEXTS) if kind == "VARCHAR" else self._of(NUMBERS[kind in FLOATS])

    # Filters.

    def filter(self, depth: int | None = None, negated: bool = False) -> str:
        if depth is None:
            depth = self._of((0, 0, 1, 1, 2, 3))
        if depth == 0:
            return self._predicate(negated)
        if self._chance(0.2):
            return f"{self._of(('not', '!', 'NOT'))} ({self.filter(depth - 1, True)})"
        sides = [self.filter(depth - 1, negated), self.filter(self.random.randint(0, depth - 1), negated)]
        return f" {self._of(('and', 'or', '&&', '||', 'AND', 'OR'))} ".join(f"({side})" if self._chance(0.7) else side for side in sides)

    def _predicate(self, negated: bool) -> str:
        forms = (
            self._comparison, self._comparison, self._comparison, self._range, self._member, self._arithmetic, self._like,
            self._presence, self._contains, self._length, self._two_fields,
        )  # fmt: skip
        while True:
            made = self._of(forms)(negated)
            if made:
                return made

    def _comparison(self, _: bool) -> str:
        what, kind = self._operand()
        op = self._operator(kind)
        literal = self._literal(kind)
        return f"{what} {op} {literal}" if self._chance(0.8) else f"{literal} {op} {what}"

    def _range(self, _: bool) -> str | None:
        what, kind = self._operand()
        low, high = sorted((self._scalar(kind), self._scalar(kind)))
        if kind == "BOOL" or low == high or self._is_path(what):
            return None
        low, high = (f'"{low}"', f'"{high}"') if kind == "VARCHAR" else (low, high)
        first, second = self._of(("<", "<=")), self._of(("<", "<="))
        if self._chance(0.7):
            return f"{low} {first} {what} {second} {high}"
        return f"{high} {first.replace('<', '>')} {what} {second.replace('<', '>')} {low}"

    def _member(self, negated: bool) -> str | None:
        what, kind = self._operand()
        if "[" in what or self._is_path(what):
            return None
        items = ", ".join(self._literal(kind, exact=True) for _ in range(self.random.randint(0, 4)))
        if self._may_be_null(what):
            return None if negated else f"{what} in [{items}]"
        return f"{what} {self._of(('in', 'not in'))} [{items}]"

    def _arithmetic(self, _: bool) -> str | None:
        what, kind = self._operand()
        if kind in INTEGERS:
            op, by, to = self._of("+-*"), self._of((1, 2, 3, -2, 5)), self._literal("INT64")
        elif kind in FLOATS:
            op, by, to = self._of("+-*/"), self._of((0.5, 2.0, 1.5)), self._literal("DOUBLE")
        else:
            return None
        return f"{what} {op} {by} {self._operator(kind)} {to}"

    def _like(self, _: bool) -> str | None:
        what, kind = self._operand()
        if kind != "VARCHAR":
            return None
        parts = ("%", "_", "a", "al", "b", "A", "pha", "c") + (() if "[" in what else (r"\\%", r"\\_"))
        pattern = "".join(self._of(parts) for _ in range(self.random.randint(1, 3)))
        return f'{what} like "{pattern}"'

    def _presence(self, _: bool) -> str:
        path = self._path()
        if path and self._chance(0.6):
            return self._of((f"exists {path[0]}", f"{path[0]} is null", f"{path[0]} is not null"))
        return f"{self._of(tuple(self.fields))} {self._of(('is null', 'is not null', 'IS NULL', 'IS NOT NULL'))}"

    def _contains(self, negated: bool) -> str | None:
        name = self._field(lambda kind: kind.startswith("ARRAY"))
        if not name or (negated and self._may_be_null(name)):
            return None
        item = self.fields[name][0][6:]
        call = self._of(("json_contains", "array_contains", "JSON_CONTAINS", "ARRAY_CONTAINS"))
        if self._chance(0.4):
            literal = self._literal(item, exact=True)
            return None if literal.startswith("-") else f"{call}({name}, {literal})"
        items = ", ".join(self._literal(item, exact=True) for _ in range(self.random.randint(1, 3)))
        which = self._of(("_all", "_any"))
        return f"{call}{which if call.islower() else which.upper()}({name}, [{items}])"

    def _length(self, _: bool) -> str | None:
        name = self._field(lambda kind: kind.startswith("ARRAY"))
        if not name or self._may_be_null(name):
            return None
        return f"{self._of(('array_length', 'ARRAY_LENGTH'))}({name}) {self._operator('INT64')} {self.random.randint(0, 4)}"

    def _two_fields(self, _: bool) -> str | None:
        text = self._chance(0.3)
        fits = (lambda kind: kind == "VARCHAR") if text else (lambda kind: kind in INTEGERS + FLOATS)
        left, right = self._field(fits), self._field(fits)
        return f"{left} {self._operator('INT64')} {right}" if left and right else None

    # Parts of filters.

    def _operand(self) -> tuple[str, str]:
        """A field, an element of an array or a path, and the type that it is compared as."""
        path = self._path() if self._chance(0.3) else None
        if path and path[1] != "NESTED":
            return path[0], self._number() if path[1] == "NUMBER" else path[1]
        array = self._field(lambda kind: kind.startswith("ARRAY")) if self._chance(0.25) else None
        if array:
            return f"{array}[{self.random.randint(0, 4)}]", self.fields[array][0][6:]
        name = self._field(lambda kind: kind != "JSON" and not kind.startswith("ARRAY"))
        return (name, self.fields[name][0]) if name else ("id", "INT64")

    def _path(self) -> tuple[str, str] | None:
        """A path into a document or a dynamic field, and what is under it."""
        document = self._field(lambda kind: kind == "JSON")
        if document and (not self.dynamic or self._chance(0.5)):
            path, keys = document, KEYS
        elif self.dynamic:
            name = self._of(tuple(DYNAMIC))
            path = name if self._chance(0.7) else f'$meta["{name}"]'
            if DYNAMIC[name] != "NESTED" or self._chance(0.3):
                return path, DYNAMIC[name]
            keys = KEYS
        else:
            return None
        while True:
            key = self._of(tuple(keys))
            path += f'["{key}"]'
            if keys[key] != "NESTED" or self._chance(0.5):
                return path, keys[key]

    def _literal(self, kind: str, exact: bool = False) -> str:
        if kind in INTEGERS and not exact and self._chance(0.2):
            kind = "DOUBLE"
        elif kind in FLOATS and not exact and self._chance(0.4):
            kind = "INT64"
        value = self._scalar(kind)
        if kind == "BOOL":
            return self._of(("true", "True", "TRUE") if value else ("false", "False", "FALSE"))
        return self._of((f'"{value}"', f"'{value}'")) if kind == "VARCHAR" else repr(value)

    def _operator(self, kind: str) -> str:
        return self._of(("==", "!=") if kind == "BOOL" else ("==", "!=", "<", "<=", ">", ">="))

    def _field(self, fits) -> str | None:
        names = [name for name, (kind, _) in self.fields.items() if fits(kind)]
        return self._of(names) if names else None

    def _may_be_null(self, what: str) -> bool:
        return what != "id" and self.fields[what.split("[")[0]][1]

    def _is_path(self, what: str) -> bool:
        name = what.split("[")[0]
        return name != "id" and (name not in self.fields or self.fields[name][0] == "JSON")

    def _number(self) -> str:
        return self._of(("INT64", "DOUBLE"))

    def _chance(self, share: float) -> bool:
        return self.random.random() < share

    def _of(self, choices):
        return self.random.choice(choices)
