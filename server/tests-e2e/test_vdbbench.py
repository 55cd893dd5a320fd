"""VDBBench's Milvus client, unmodified, in an environment of its own, because it works with an older pymilvus."""

import json
import os
import pathlib
import subprocess

import pytest

HERE = pathlib.Path(__file__).parent
INDEXES = ["HNSW", "FLAT", "AUTOINDEX", "IVF_FLAT"]


@pytest.fixture(scope="module")
def answer(server, client, tmp_path_factory):
    """What `vdbbench/client_steps.py` found; its collections are dropped afterwards."""
    python = os.environ.get("ELANUS_VDBBENCH_PYTHON")
    if not python:
        pytest.skip("start the tests with ./run, or set ELANUS_VDBBENCH_PYTHON to a Python with requirements-vdbbench.txt")
    stem, folder = f"vdbbench_{os.getpid()}", tmp_path_factory.mktemp("vdbbench")
    folders = {"LOG_FILE": str(folder / "log"), "RESULTS_LOCAL_DIR": str(folder), "DATASET_LOCAL_DIR": str(folder)}
    done = subprocess.run(
        [python, str(HERE / "vdbbench" / "client_steps.py"), server.uri, stem],
        capture_output=True, text=True, timeout=600, cwd=folder, env={**os.environ, **folders},
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    yield json.loads(done.stdout.strip().splitlines()[-1])
    for name in client.list_collections():
        if name.startswith(stem):
            client.drop_collection(name)


@pytest.mark.parametrize("index", INDEXES)
def test_a_collection_is_loaded_optimized_and_searched(answer, index):
    found = answer[index]
    assert found["ready"] == [True, True]
    assert found["segments"] == [2000], "the merge leaves one segment with every row"
    for filters in "none", "number", "label", "again":
        assert found[filters] >= (1.0 if index in ("FLAT", "IVF_FLAT") else 0.9), f"recall, filter: {filters}"
    assert found["vector"] == found["scalar_label"] == 10


def test_a_search_for_a_tenant_finds_its_rows_alone(answer):
    tenants = answer["tenants"]
    assert [len(rows) for rows in tenants.values()] == [10, 10]
    assert tenants["north"][0] == 0 and all(row % 2 == 0 for row in tenants["north"])
    assert all(row % 2 == 1 for row in tenants["south"])


def test_documents_are_found_by_their_words(answer):
    assert answer["texts"] == {"found": ["doc150", "doc7"], "filtered": ["doc150"]}
