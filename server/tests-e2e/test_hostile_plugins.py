"""Guests that mean harm, through the running server: each is refused when it is registered or fails when it is called, in
words that say why, while somebody else's searches are answered; and nothing of it stays in the server's memory.

The guests are those of `plugins/hostile`. The first lines of their texts say what they do and what becomes of them.
"""

import dataclasses
import os
import pathlib
import random
import threading

import pyarrow.flight as flight
import pytest
from harness import REPOSITORY, Server
from pymilvus import MilvusClient, MilvusException
from test_plugins import PREBUILT, REFUSED, ranker, run, search, with_rows

HOSTILE = REPOSITORY / "plugins" / "hostile"
LIMITS = "deadline = '20ms', start_deadline = '200ms', memory = '32MiB'"
ROUNDS = int(os.environ.get("ELANUS_HOSTILE_ROUNDS", "20"))
"""Calls of each guest, after those that fill what the server keeps."""
KEPT = 96 << 20
"""Bytes by which the server may grow over all rounds: allocators keep some. A guest that leaked its memory would make it 32 MiB a call."""


@dataclasses.dataclass(frozen=True)
class Guest:
    name: str
    world: str
    rights: str
    stage: str | None
    """When it fails; nothing when it is contained without failing."""
    says: str

    @property
    def is_refused(self) -> bool:
        """Whether it is not even registered."""
        return self.stage in ("load", "start", "describe")

    @property
    def is_slow(self) -> bool:
        """Whether only a deadline ends it."""
        return "took longer" in self.says

    def register(self, server) -> None:
        path = HOSTILE / "prebuilt" / f"{self.name}.wasm"
        settings = f"{LIMITS}, rights = '{self.rights}'" if self.rights else LIMITS
        if self.world == "udf":
            run(server, f"CREATE OR REPLACE FUNCTION \"{self.name}\" LANGUAGE WASM AS '{path}', 'copy' WITH ({settings})")
        else:
            run(server, f"CREATE OR REPLACE RERANKER \"{self.name}\" FROM '{path}' WITH ({settings})")

    def call(self, server, client) -> str | None:
        """What is said about its failure; nothing when it answers. Rerankers are called through both doors."""
        if self.world == "udf":
            return refusal(lambda: run(server, f'SELECT "{self.name}"(CAST(NULLIF(created_at, 100) AS REAL)) FROM posts WHERE id < 3'))
        by_milvus = refusal(lambda: search(client, ranker(self.name, rerank_k=3), limit=2))
        by_sql = refusal(lambda: run(server, f"SELECT id FROM vector_search(posts, '[1, 0]', 2, rerank => '{self.name}', rerank_k => 3)"))
        assert (by_milvus is None) == (by_sql is None), (self.name, by_milvus, by_sql)
        return None if by_milvus is None else f"{by_milvus}\n{by_sql}"


def refusal(work) -> str | None:
    try:
        work()
    except (*REFUSED, MilvusException) as error:
        return str(error)
    return None


def guests() -> list[Guest]:
    found = []
    for path in sorted(HOSTILE.glob("*.wat")):
        if path.stem == "prelude":
            continue
        lines = [line.removeprefix(";; ") for line in path.read_text().splitlines() if line.startswith(";; ")]
        told = {key: value for key, _, value in (line.partition(": ") for line in lines) if value}
        assert ("fails" in told) != ("passes" in lines), path
        found.append(Guest(path.stem, told.get("world", "reranker"), told.get("rights", ""), told.get("fails"), told.get("says", "")))
    return found


@pytest.fixture
def attacked(tmp_path):
    server = Server(tmp_path / "data", "--allow-plugins", "--allow-files", str(PREBUILT), "--allow-files", str(HOSTILE)).start()
    with_rows(MilvusClient(server.uri))
    run(server, f"CREATE RERANKER newest FROM '{PREBUILT / 'recency.wasm'}'")
    yield server
    server.kill()


class Bystander:
    """Searches again and again, through a plugin that behaves and without one, in its own thread."""

    def __init__(self, server):
        self._server = server
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.answered = 0
        self.surprises: list[str] = []

    def _run(self):
        client = MilvusClient(self._server.uri)
        newest = ranker("newest", params={"now": 1900, "half_life": 100})
        while not self._stop.is_set():
            try:
                plain = client.search("posts", data=[[1.0, 0.0]], anns_field="v", limit=3)
                assert [hit["id"] for hit in plain[0]] == [0, 1, 2], plain
                assert search(client, newest) == [[19, 18, 17]]
                assert run(self._server, "SELECT count(*) AS n FROM posts") == [{"n": 20}]
                self.answered += 1
            except Exception as error:  # noqa: BLE001 - whatever it is, it is reported
                self.surprises.append(repr(error))
                return

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()


def resident(server) -> int:
    """Bytes of memory that the server has."""
    for line in pathlib.Path(f"/proc/{server.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    raise AssertionError("no VmRSS")


def open_files(server) -> int:
    return len(list(pathlib.Path(f"/proc/{server.process.pid}/fd").iterdir()))


def test_every_hostile_guest_is_contained_and_leaves_nothing_behind(attacked):
    everyone = guests()
    assert len(everyone) >= 25
    client = MilvusClient(attacked.uri)
    surprises = []
    with Bystander(attacked) as bystander:
        for guest in everyone:
            said = refusal(lambda guest=guest: guest.register(attacked))
            if (said is not None) != guest.is_refused:
                surprises.append(f"{guest.name} registered: {said}, fails {guest.stage}")
            elif said is None:
                said = guest.call(attacked, client)
            if (said is None) != (guest.stage is None) or guest.says not in (said or ""):
                surprises.append(f"{guest.name}: {said}, not {guest.says}")
            if "\x1b" in (said or "") or len(said or "") > 8000:
                surprises.append(f"{guest.name} speaks to the terminal: {said!r}")
        assert not surprises, "\n".join(surprises)
        # What the server keeps of a plugin it has by now.
        before, files = resident(attacked), open_files(attacked)
        for guest in everyone:
            for _ in range(-(-ROUNDS // 10) if guest.is_slow else ROUNDS):
                said = refusal(lambda guest=guest: guest.register(attacked)) if guest.is_refused else guest.call(attacked, client)
                if guest.says not in (said or ""):
                    surprises.append(f"{guest.name} later: {said}")
        assert not surprises, "\n".join(surprises[:10])
        after = resident(attacked)
        assert after - before < KEPT, f"{before >> 20} MiB before, {after >> 20} MiB after {ROUNDS} calls of each"
    assert bystander.answered > 0 and not bystander.surprises, bystander.surprises
    assert open_files(attacked) <= files + 8
    [listed] = run(attacked, "SELECT traps, last_error FROM elanus.plugins WHERE name = 'newest'")
    assert listed == {"traps": 0, "last_error": None}
    [trapped] = run(attacked, "SELECT traps > 0 AS trapped, last_error FROM elanus.plugins WHERE name = 'memory-bomb'")
    assert trapped["trapped"] and "bytes of memory" in trapped["last_error"]


def test_bytes_from_anywhere_are_refused_or_contained(attacked):
    """Files that are cut off, changed, or noise: what is registered nevertheless may be called, and nothing ends but that call."""
    draw = random.Random(7)
    wholes = [(PREBUILT / "fusion-c.wasm").read_bytes(), (HOSTILE / "prebuilt" / "score-nan.wasm").read_bytes()]
    client, connection = MilvusClient(attacked.uri), flight.connect(attacked.flight)
    refused = 0
    with Bystander(attacked) as bystander:
        for case in range(90):
            whole = bytearray(wholes[case % 2])
            if case % 3 == 0:
                changed = bytes(whole[: draw.randrange(1, len(whole))])
            elif case % 3 == 1:
                for _ in range(draw.randrange(1, 8)):
                    whole[draw.randrange(8, len(whole))] = draw.randrange(256)
                changed = bytes(whole)
            else:
                changed = b"\0asm" + bytes(draw.choices([[1, 0, 0, 0], [13, 0, 1, 0]])[0]) + draw.randbytes(300)
            [answer] = connection.do_action(flight.Action("elanus.UploadPlugin", changed))
            path = answer.body.to_pybytes().decode()
            said = refusal(lambda path=path: run(attacked, f"CREATE OR REPLACE RERANKER noise FROM '{path}' WITH ({LIMITS})"))
            if said is not None:
                refused += 1
                assert "noise" in said or "plugin" in said or path[7:15] in said, said
                continue
            refusal(lambda: search(client, ranker("noise", params={"column": "created_at"}), limit=2))
            refusal(lambda: search(client, ranker("noise"), limit=2))
    connection.close()
    assert refused >= 60, refused
    assert bystander.answered > 0 and not bystander.surprises, bystander.surprises
