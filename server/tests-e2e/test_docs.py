"""The pages for people are true: their commands and code run, their links lead somewhere, their tables match the server.

Every fenced block of README.md and docs/*.md whose language is `bash`, `python` or `sql` is run, in the order of the
page, unless its info string says `no-run`. The blocks of one page share a temporary folder, a Python namespace and
at most one server:

The folder has `plugins` of the repository in it, for who reads in a checkout.

- `bash`  runs with `elanus` on the PATH. A block that is one `elanus serve ...` command starts that server (on free
          ports) for the blocks that follow, with its options `--allow-..`,
          `--auth` and `--root-password-file`. A block with `elanus sql` stops it first, as the reader is told to.
- `python` runs in the page's namespace; `localhost` and `127.0.0.1` with port 19530 or 31337 mean the page's
          server.
- `sql`   runs statement by statement (each ends with `;` at the end of a line) on the page's folder `./data`.
- A block with the info string `text output` right after one of these is what it printed, without regard to spaces at
  the ends of lines.
"""

from __future__ import annotations

import contextlib
import io
import os
import pathlib
import re
import shlex
import subprocess
from dataclasses import dataclass

import grpc
import pytest
from harness import REPOSITORY, Server, binary
from pymilvus.grpc_gen import milvus_pb2, milvus_pb2_grpc

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)([^\n]*)\n(.*?)^```\s*?$", re.S | re.M)
RUNNABLE = {"bash", "python", "sql"}


@dataclass
class Block:
    language: str
    info: list[str]
    text: str
    line: int
    end: int


def blocks(page: pathlib.Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        end = line + match.group(0).count("\n")
        found.append(Block(match.group(1), match.group(2).split(), match.group(3), line, end))
    return found


def runs(block: Block) -> bool:
    return block.language in RUNNABLE and "no-run" not in block.info


class Reader:
    """Somebody who follows a page from top to bottom."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.server: Server | None = None
        self.namespace: dict = {"__name__": "__main__"}
        commands = folder / ".bin"
        commands.mkdir()
        (commands / "elanus").symlink_to(binary().resolve())
        (folder / "plugins").symlink_to(REPOSITORY / "plugins")
        self.environment = {**os.environ, "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}"}

    def follow(self, block: Block) -> str:
        return getattr(self, block.language)(block.text)

    def leave(self) -> None:
        if self.server:
            status = self.server.stop()
            log, self.server = self.server.log(), None
            assert status == 0, log

    def shell(self, command: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def bash(self, text: str) -> str:
        lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
        words = shlex.split(lines[0], comments=True) if len(lines) == 1 else []
        if words[:2] == ["elanus", "serve"]:
            self.leave()
            data = words[words.index("--data") + 1]
            options = [word for word in words if word.startswith(("--allow-", "--auth"))]
            if "--root-password-file" in words:
                file = words[words.index("--root-password-file") + 1]
                options += ["--root-password-file", str(self.folder / file)]
            self.server = Server(self.folder / data, *options).start()
            return ""
        if "elanus sql" in text:
            self.leave()
        return self.shell(text)

    def python(self, text: str) -> str:
        if self.server:
            text = re.sub(r"(localhost|127\.0\.0\.1):19530", self.server.address, text)
            text = re.sub(r"(localhost|127\.0\.0\.1):31337", f"127.0.0.1:{self.server.flight_port}", text)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.chdir(self.folder):
            exec(compile(text, "page", "exec"), self.namespace)  # noqa: S102: the page's code is what is tested
        return printed.getvalue()

    def sql(self, text: str) -> str:
        self.leave()
        statements = [part.strip() for part in re.split(r";\s*$", text, flags=re.M) if part.strip()]
        return "".join(self.shell(shlex.join(["elanus", "sql", "--data", "data", "-c", each])) for each in statements)


def same(printed: str, shown: str) -> bool:
    def plain(text):
        return [line.rstrip() for line in text.strip("\n").splitlines()]

    return plain(printed) == plain(shown)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(map(runs, blocks(page)))], ids=lambda page: page.name
)
def test_what_a_page_tells_to_do_works(page, tmp_path):
    if os.environ.get("ELANUS_E2E_URI"):
        pytest.skip("the pages start their own servers")
    reader = Reader(tmp_path)
    last: Block | None = None
    printed = ""
    try:
        for block in blocks(page):
            where = f"{page.name}:{block.line}"
            if runs(block):
                try:
                    printed = reader.follow(block)
                except BaseException as error:
                    raise AssertionError(f"{where} failed\n{block.text}\n{error!r}") from error
                last = block
            elif block.language == "text" and "output" in block.info:
                assert last is not None, f"{where}: the output of what?"
                assert same(printed, block.text), f"{where} shows another output than the block before gives:\n{printed}"
    finally:
        reader.leave()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name}: {target} leads nowhere"
        if anchor and file.suffix == ".md":
            headings = re.findall(r"^#+ +(.*)$", FENCE.sub("", file.read_text(encoding="utf-8")), re.M)
            anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in anchors, f"{page.name}: {target}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_exist(page):
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"`make ([a-z-]+)`", page.read_text(encoding="utf-8"))):
        assert re.search(rf"^{target}:", makefile, re.M), f"{page.name} names `make {target}`"


# ---- the table of calls in docs/milvus-compatibility.md


def documented_calls() -> dict[str, bool]:
    """Call -> whether it works, from the table whose rows look like `| Name | works |`."""
    text = (REPOSITORY / "docs" / "milvus-compatibility.md").read_text(encoding="utf-8")
    text = text.split("\n## Calls\n", 1)[1].split("\n## ", 1)[0]
    calls: dict[str, bool] = {}
    for names, state in re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| (works|not supported yet)\b", text, re.M):
        for call in re.findall(r"`(\w+)`", names):
            assert call not in calls, f"{call} stands there twice"
            calls[call] = state == "works"
    return calls


def test_the_table_of_calls_is_complete():
    protocol = {method.name for method in milvus_pb2.DESCRIPTOR.services_by_name["MilvusService"].methods}
    assert protocol <= set(documented_calls()), protocol - set(documented_calls())


def refusal(channel, name: str) -> str | None:
    """What the server says when it does not know the call `name`; `None` when it does."""
    method = milvus_pb2.DESCRIPTOR.services_by_name["MilvusService"].methods_by_name[name]
    request = getattr(milvus_pb2_grpc.milvus__pb2, method.input_type.name, None)
    if request is None:
        from google.protobuf import message_factory

        request = message_factory.GetMessageClass(method.input_type)
    stub = getattr(milvus_pb2_grpc.MilvusServiceStub(channel), name)
    try:
        if method.client_streaming:
            list(stub(iter([request()]), timeout=30))
            return None
        if method.server_streaming:
            list(stub(request(), timeout=30))
            return None
        answer = stub(request(), timeout=30)
    except grpc.RpcError as error:
        return error.details() if error.code() == grpc.StatusCode.UNIMPLEMENTED else None
    if method.output_type.name == "Status":
        status = answer
    else:
        status = getattr(answer, "status", None) or getattr(answer, "alter_status", None)
    return status.reason if status is not None and status.code == 10 else None


def test_the_table_of_calls_is_true(own_server):
    wrong = []
    with grpc.insecure_channel(own_server.address) as channel:
        for call, works in sorted(documented_calls().items()):
            if call not in milvus_pb2.DESCRIPTOR.services_by_name["MilvusService"].methods_by_name:
                continue  # newer than the client that the tests use
            said = refusal(channel, call)
            if works and said is not None:
                wrong.append(f"{call} is documented to work, the server says: {said}")
            if not works and said is None:
                wrong.append(f"{call} is documented as not supported, the server knows it")
            if not works and said is not None and said != f"not supported: {call}":
                wrong.append(f"{call}: the refusal should be 'not supported: {call}', not {said!r}")
    assert not wrong, "\n".join(wrong)
