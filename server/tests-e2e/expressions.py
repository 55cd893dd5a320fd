"""Random collections and random filters over them, each from a seed.

Every filter is one that the grammar of Milvus takes. What `milvus-lite` does not read is said to it in other words: a range as
two comparisons, a list as several, bits and remainders as the values that have them, a regular expression as `like`, a whole
array by its elements, a template as the constant. What is left out on purpose is where `milvus-lite` and Milvus itself are
known to part; `test_milvus_lite.py` has these cases one by one, with the rule.
"""

from __future__ import annotations

import ast
import math
import random
import re
from typing import NamedTuple

INTEGERS = ("INT8", "INT16", "INT32", "INT64")
FLOATS = ("FLOAT", "DOUBLE")
KINDS = ("BOOL", *INTEGERS, *FLOATS, "VARCHAR", "JSON", "TIMESTAMPTZ", *(f"ARRAY:{item}" for item in ("INT64", "INT8", "DOUBLE", "BOOL", "VARCHAR")))
TEXTS = ("alpha", "beta", "Alpha", "al_ha", "100%", "", "a", "ab", "abc", "zeta")
NUMBERS = {False: (-100, -3, -2, -1, 0, 1, 2, 3, 4, 5, 7, 10, 100), True: (-2.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 10.25)}
INSTANTS = (
    "1969-12-31T23:59:59Z", "2024-02-29T00:00:00Z", "2025-01-01T00:00:00Z", "2025-01-01T00:00:00.000001Z", "2025-01-01T08:30:00+08:00",
)  # fmt: skip
SPANS = ("P1D", "PT24H", "PT30M", "P31D", "P1DT1H")
# Keys of documents and what is under them: a comparison of values of different types is one of the known differences.
KEYS = {"a": "NUMBER", "b": "BOOL", "c": "VARCHAR", "d": "NESTED"}
DYNAMIC = {"x": "NUMBER", "y": "BOOL", "z": "VARCHAR", "w": "NESTED"}


class Filter(NamedTuple):
    """A filter, or a part of one, as it is asked here and as it is asked there."""

    here: str
    there: str


def form(pattern: str, *parts: str | Filter) -> Filter:
    sides = [part if isinstance(part, Filter) else Filter(part, part) for part in parts]
    return Filter(pattern.format(*(side.here for side in sides)), pattern.format(*(side.there for side in sides)))


def remainder(a: int, b: int) -> int:
    return int(math.fmod(a, b))


# As Milvus has them: a quotient is cut off toward zero, a remainder has the sign of what is divided.
OF_INTEGERS = {"/": lambda a, b: (a - remainder(a, b)) // b, "%": remainder, "&": int.__and__, "|": int.__or__, "^": int.__xor__}
COMPARE = {"==": int.__eq__, "!=": int.__ne__, "<": int.__lt__, "<=": int.__le__, ">": int.__gt__, ">=": int.__ge__}


class Expressions:
    """A collection's fields, rows and filters."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)
        self.fields = {f"f{i}": (self.random.choice(KINDS), self.random.random() < 0.5) for i in range(self.random.randint(5, 9))}
        self.dynamic = self.random.random() < 0.7
        self.templates: dict = {}

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
        return self._of(INSTANTS) if kind == "TIMESTAMPTZ" else self._scalar(kind)

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

    def filter(self) -> tuple[Filter, dict]:
        """A filter, and the values of its templates."""
        self.templates = {}
        return self._condition(self._of((0, 0, 1, 1, 2, 3))), self.templates

    def _condition(self, depth: int, negated: bool = False) -> Filter:
        if depth == 0:
            return self._predicate(negated)
        if self._chance(0.2):
            return form(f"{self._of(('not', '!', 'NOT'))} ({{}})", self._condition(depth - 1, True))
        sides = [self._condition(depth - 1, negated), self._condition(self.random.randint(0, depth - 1), negated)]
        word = self._of(("and", "or", "&&", "||", "AND", "OR"))
        return form(f" {word} ".join("({})" if self._chance(0.7) else "{}" for _ in sides), *sides)

    def _predicate(self, negated: bool) -> Filter:
        forms = (
            self._comparison, self._comparison, self._comparison, self._range, self._range, self._member, self._member,
            self._arithmetic, self._of_integers, self._like, self._regex, self._presence, self._contains, self._contains_at,
            self._length, self._whole, self._two_fields, self._instant,
        )  # fmt: skip
        while True:
            made = self._of(forms)(negated)
            if made:
                return made

    def _comparison(self, _: bool) -> Filter:
        what, kind = self._operand()
        op = self._operator(kind)
        literal = self._constant(kind)
        return form(f"{what} {op} {{}}", literal) if self._chance(0.8) else form(f"{{}} {op} {what}", literal)

    def _range(self, _: bool) -> Filter | None:
        what, kind = self._operand()
        low, high = sorted((self._scalar(kind), self._scalar(kind)))
        if kind == "BOOL" or low == high:
            return None
        low, high = (self._template(f'"{end}"' if kind == "VARCHAR" else repr(end)) for end in (low, high))
        first, second = self._of(("<", "<=")), self._of(("<", "<="))
        if self._chance(0.3):
            low, high = high, low
            first, second = first.replace("<", ">"), second.replace("<", ">")
        there = f"({low.there} {first} {what} and {what} {second} {high.there})"
        return Filter(f"{low.here} {first} {what} {second} {high.here}", there)

    def _member(self, negated: bool) -> Filter | None:
        what, kind = self._operand()
        items = [self._literal(kind, exact=True) for _ in range(self.random.randint(0, 4))]
        word = self._of(("in", "not in"))
        listed = self._template(f"[{', '.join(items)}]") if items else Filter("[]", "[]")
        if "[" not in what and not self._is_path(what):
            if self._may_be_null(what):
                return None if negated else form(f"{what} in {{}}", listed)
            return form(f"{what} {word} {{}}", listed)
        if not items:
            return None
        equal, between = ("==", " or ") if word == "in" else ("!=", " and ")
        return Filter(f"{what} {word} {listed.here}", f"({between.join(f'{what} {equal} {item}' for item in items)})")

    def _arithmetic(self, _: bool) -> Filter | None:
        what, kind = self._operand()
        if kind in INTEGERS:
            op, by, to = self._of("+-*"), self._of((1, 2, 3, -2, 5)), self._constant("INT64")
        elif kind in FLOATS:
            op, by, to = self._of("+-*/"), self._of((0.5, 2.0, 1.5)), self._constant("DOUBLE")
        else:
            return None
        return form(f"{what} {op} {by} {self._operator(kind)} {{}}", to)

    def _of_integers(self, _: bool) -> Filter | None:
        what, kind = self._operand()
        if kind not in INTEGERS or what == "id" or self._is_path(what):
            return None
        op, by, compare, to = self._of(tuple(OF_INTEGERS)), self._of((1, 2, 3, 4, 7, -2)), self._of(tuple(COMPARE)), self._scalar("INT64")
        having = [value for value in NUMBERS[False] if COMPARE[compare](OF_INTEGERS[op](value, by), to)]
        there = " or ".join(f"{what} == {value}" for value in having) or f"{what} == 0 and {what} == 1"
        return Filter(f"({what} {op} {by}) {compare} {to}", f"({there})")

    def _like(self, _: bool) -> Filter | None:
        what, kind = self._operand()
        if kind != "VARCHAR":
            return None
        parts = ("%", "_", "a", "al", "b", "A", "pha", "c") + (() if "[" in what else (r"\\%", r"\\_"))
        pattern = "".join(self._of(parts) for _ in range(self.random.randint(1, 3)))
        return form(f'{what} like "{pattern}"')

    def _regex(self, _: bool) -> Filter | None:
        what, kind = self._operand()
        if kind != "VARCHAR":
            return None
        parts = [self._of((("a", "a"), ("al", "al"), ("b", "b"), ("ha", "ha"), (".", "_"), (".*", "%"))) for _ in range(self.random.randint(1, 3))]
        start, end = self._of((("^", ""), ("", "%"))), self._of((("$", ""), ("", "%")))
        regex, like = ("".join(part[side] for part in (start, *parts, end)) for side in (0, 1))
        # In JSON `!~` is no negation of `=~`: it is true of what is no text.
        if self._chance(0.3) and not self._is_path(what):
            return Filter(f'{what} !~ "{regex}"', f'(not ({what} like "{like}"))')
        return Filter(f'{what} =~ "{regex}"', f'{what} like "{like}"')

    def _presence(self, _: bool) -> Filter:
        path = self._path()
        if path and self._chance(0.6):
            return form(self._of((f"exists {path[0]}", f"{path[0]} is null", f"{path[0]} is not null")))
        return form(f"{self._of(tuple(self.fields))} {self._of(('is null', 'is not null', 'IS NULL', 'IS NOT NULL'))}")

    def _contains(self, negated: bool) -> Filter | None:
        name = self._field(lambda kind: kind.startswith("ARRAY"))
        if not name or (negated and self._may_be_null(name)):
            return None
        return self._call_contains(name, self.fields[name][0][6:])

    def _contains_at(self, negated: bool) -> Filter | None:
        path = self._path()
        if negated or not path or path[1] != "NESTED":
            return None
        return self._call_contains(path[0], "INT64")

    def _call_contains(self, what: str, item: str) -> Filter:
        call, there = self._of(("json_contains", "array_contains", "JSON_CONTAINS", "ARRAY_CONTAINS")), what.replace('$meta["w"]', "w")
        if self._chance(0.4):
            literal = self._constant(item, exact=True)
            return Filter(f"{call}({what}, {literal.here})", f"{call}_any({there}, [{literal.there}])")
        items = ", ".join(self._literal(item, exact=True) for _ in range(self.random.randint(1, 3)))
        which, listed = self._of(("_all", "_any")), self._template(f"[{items}]")
        call += which if call.islower() else which.upper()
        return Filter(f"{call}({what}, {listed.here})", f"{call}({there}, {listed.there})")

    def _length(self, negated: bool) -> Filter | None:
        call = self._of(("array_length", "ARRAY_LENGTH"))
        if self.dynamic and not negated and self._chance(0.2):
            return form(f"{call}(w) {self._of(('== 3', '> 2', '>= 1', '== 2'))}")
        name = self._field(lambda kind: kind.startswith("ARRAY"))
        if not name or self._may_be_null(name):
            return None
        return form(f"{call}({name}) {self._operator('INT64')} {self.random.randint(0, 4)}")

    def _whole(self, negated: bool) -> Filter | None:
        name = self._field(lambda kind: kind.startswith("ARRAY"))
        if not name or self._may_be_null(name):
            return None
        items = [self._literal(self.fields[name][0][6:], exact=True) for _ in range(self.random.randint(0, 2))]
        there = " and ".join([f"array_length({name}) == {len(items)}", *(f"{name}[{i}] == {item}" for i, item in enumerate(items))])
        if self._chance(0.3):
            return Filter(f"{name} != [{', '.join(items)}]", f"(not ({there}))")
        return Filter(f"{name} == [{', '.join(items)}]", f"({there})")

    def _two_fields(self, _: bool) -> Filter | None:
        text = self._chance(0.3)
        fits = (lambda kind: kind == "VARCHAR") if text else (lambda kind: kind in INTEGERS + FLOATS)
        left, right = self._field(fits), self._field(fits)
        return form(f"{left} {self._operator('INT64')} {right}") if left and right else None

    def _instant(self, _: bool) -> Filter | None:
        name = self._field(lambda kind: kind == "TIMESTAMPTZ")
        if not name:
            return None
        op, literal = self._operator("TIMESTAMPTZ"), f"ISO '{self._of(INSTANTS)}'"
        if self._chance(0.4):
            return form(f"{name} {self._of('+-')} INTERVAL '{self._of(SPANS)}' {op} {literal}")
        return form(f"{name} {op} {literal}" if self._chance(0.8) else f"{literal} {op} {name}")

    # Parts of filters.

    def _operand(self) -> tuple[str, str]:
        """A field, an element of an array or a path, and the type that it is compared as."""
        path = self._path() if self._chance(0.3) else None
        if path and path[1] != "NESTED":
            return path[0], self._number() if path[1] == "NUMBER" else path[1]
        array = self._field(lambda kind: kind.startswith("ARRAY")) if self._chance(0.25) else None
        if array:
            return f"{array}[{self.random.randint(0, 4)}]", self.fields[array][0][6:]
        name = self._field(lambda kind: kind not in ("JSON", "TIMESTAMPTZ") and not kind.startswith("ARRAY"))
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

    def _constant(self, kind: str, exact: bool = False) -> Filter:
        return self._template(self._literal(kind, exact))

    def _template(self, text: str) -> Filter:
        """A constant, now and then by the name of a template that stands for it."""
        if not self._chance(0.15):
            return Filter(text, text)
        name = f"t{len(self.templates)}"
        self.templates[name] = ast.literal_eval(re.sub(r"\b(true|false)\b", lambda word: word[0].title(), text, flags=re.I))
        return Filter(f"{{{name}}}", text)

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
