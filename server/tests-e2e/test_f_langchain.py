"""langchain-milvus, unmodified, in an environment of its own, because it works with an older pymilvus."""

import json
import os
import pathlib
import subprocess

import pytest

HERE = pathlib.Path(__file__).parent


def test_from_documents_and_similarity_search(server, client, name):
    python = os.environ.get("ELANUS_LANGCHAIN_PYTHON")
    if not python:
        pytest.skip("start the tests with ./run, or set ELANUS_LANGCHAIN_PYTHON to a Python with requirements-langchain.txt")
    done = subprocess.run(
        [python, str(HERE / "langchain" / "quick_start.py"), server.uri, name],
        capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    assert answer["nearest"][0] == "owls hunt at night over grassland"
    assert answer["kind"] == "bird"
    assert answer["score"] == pytest.approx(0.0, abs=1e-5), "langchain's default metric is L2"
    assert answer["filtered"] == [2, 5]
    assert answer["diverse"] == 2
    assert answer["found"] == "salt keeps fish" and "salt keeps fish" not in answer["gone"]
    assert answer["again"] == "a query engine plans joins and groups"
    assert answer["invoked"] == "kites hover over open grassland"
    fields = [field["name"] for field in client.describe_collection(name)["fields"]]
    assert set(fields) >= {"pk", "text", "vector"}
