"""Real documents to search, the docstrings of Python's standard library, and BM25 by its formula."""

from __future__ import annotations

import ast
import functools
import math
import pathlib
import re
import sysconfig
import zlib
from collections import Counter


@functools.cache
def docstrings() -> list[str]:
    """All different docstrings of more than 20 characters, some thousands, always in the same order."""
    found: dict[str, None] = {}
    root = pathlib.Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(root.rglob("*.py")):
        if {"site-packages", "dist-packages", "test", "tests"} & set(path.relative_to(root).parts):
            continue
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                text = ast.get_docstring(node)
                if text and len(text) > 20 and text.isascii():
                    found[text] = None
    return list(found)


def words(text: str) -> list[str]:
    """What the analyzer `standard` makes of ASCII text."""
    return re.findall("[a-z0-9]+", text.lower())


class Bm25:
    """Scores of texts by key, as the formula has them. Terms of one checksum are one term."""

    def __init__(self, texts: dict[int, str], k1: float = 1.2, b: float = 0.75, split=words):
        self.k1, self.b, self.split = k1, b, split
        self.lengths = {key: len(split(text)) for key, text in texts.items()}
        self.mean = sum(self.lengths.values()) / len(texts)
        self.postings: dict[int, dict[int, int]] = {}
        for key, text in texts.items():
            for term, count in Counter(map(self.number, split(text))).items():
                self.postings.setdefault(term, {})[key] = count

    @staticmethod
    def number(word: str) -> int:
        return zlib.crc32(word.encode()[:100]) % 0xFFFFFFFF

    def scores(self, query: str) -> dict[int, float]:
        """Of the texts that share a word with the query; a word that it repeats counts as often."""
        scores: dict[int, float] = {}
        for term in map(self.number, self.split(query)):
            having = self.postings.get(term, {})
            idf = math.log(1 + (len(self.lengths) - len(having) + 0.5) / (len(having) + 0.5))
            for key, count in having.items():
                norm = self.k1 * (1 - self.b + self.b * self.lengths[key] / self.mean)
                scores[key] = scores.get(key, 0.0) + idf * count * (self.k1 + 1) / (count + norm)
        return scores
