#!/usr/bin/env python3
"""Writes every string of the filter tests as a seed, one file each: seeds.py FOLDER.

A corpus made of the tests grows with them; strings that are no filters are seeds as good as any.
"""

import hashlib
import pathlib
import re
import sys

TESTS = pathlib.Path(__file__).resolve().parents[1] / "engine/filter/tests/it"
STRING = re.compile(r'r#"(.*?)"#|"((?:[^"\\]|\\.)*)"', re.S)
ESCAPE = re.compile(r"\\(\n\s*|.)", re.S)
MEANT = {"n": "\n", "t": "\t", "r": "\r", "0": "\0"}

folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
for file in sorted(TESTS.glob("*.rs")):
    for raw, escaped in STRING.findall(file.read_text(encoding="utf-8")):
        text = raw or ESCAPE.sub(lambda found: "" if found[1].isspace() else MEANT.get(found[1], found[1]), escaped)
        seed = text.encode()
        (folder / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
