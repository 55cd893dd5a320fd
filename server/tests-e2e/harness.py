"""The server under test as an object: start it, stop it, kill it, start it again on the same data.

Nothing here waits by sleeping for a fixed time. The server says on its standard output, one line per door, when it is
ready; everything else is polled until it is true or a generous limit is over.
"""

from __future__ import annotations

import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
STARTUP_LIMIT_S = 60.0
"""How long a start may take before the test gives up. A limit against hanging, not a claim about speed."""


def binary() -> pathlib.Path:
    """`$ELANUS_BIN`, else `elanus` in the release folder of `$CARGO_TARGET_DIR`, else of `./target`."""
    if given := os.environ.get("ELANUS_BIN"):
        return pathlib.Path(given)
    target = os.environ.get("CARGO_TARGET_DIR")
    return (pathlib.Path(target) if target else REPOSITORY / "target") / "release" / "elanus"


def free_port() -> int:
    """A port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def eventually(condition, what: str, limit_s: float = 30.0):
    """Polls `condition` until it gives something true, and returns that; fails with `what` after `limit_s`."""
    deadline = time.monotonic() + limit_s
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"did not happen within {limit_s:.0f} s: {what}")
        time.sleep(0.01)


class Server:
    """One `elanus serve` process on free loopback ports."""

    controllable = True

    def __init__(self, data: pathlib.Path, *options: str):
        self.data = pathlib.Path(data)
        self.options = options
        self.process: subprocess.Popen | None = None
        self.milvus_port = free_port()
        self.flight_port = free_port()
        self.http_port = free_port()
        self._lines: list[str] = []
        self._stderr = tempfile.TemporaryFile(mode="w+")

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.milvus_port}"

    @property
    def uri(self) -> str:
        return f"http://{self.address}"

    @property
    def flight(self) -> str:
        return f"grpc://127.0.0.1:{self.flight_port}"

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    def start(self) -> "Server":
        assert self.process is None, "already running"
        executable = binary()
        assert executable.exists(), f"{executable} does not exist: build it, or set ELANUS_BIN"
        self._lines = []
        self.process = subprocess.Popen(
            [
                str(executable), "serve", "--data", str(self.data),
                "--milvus-addr", self.address, "--flight-addr", f"127.0.0.1:{self.flight_port}",
                "--http-addr", f"127.0.0.1:{self.http_port}", *self.options,
            ],
            stdout=subprocess.PIPE, stderr=self._stderr, text=True,
        )  # fmt: skip
        reader = threading.Thread(target=self._read, args=(self.process, self._lines), daemon=True)
        reader.start()
        wanted = [f":{self.milvus_port}", f":{self.flight_port}", f":{self.http_port}"]

        def ready():
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended with {self.process.returncode} while starting\n{self.log()}")
            return all(any(door in line for line in self._lines) for door in wanted)

        eventually(ready, f"one ready line per door on standard output\n{self.log()}", STARTUP_LIMIT_S)
        return self

    @staticmethod
    def _read(process: subprocess.Popen, lines: list[str]) -> None:
        for line in process.stdout:
            lines.append(line.rstrip("\n"))

    def log(self) -> str:
        """What the server wrote so far, for messages."""
        self._stderr.flush()
        self._stderr.seek(0)
        return "\n".join(["--- stdout", *self._lines, "--- stderr", self._stderr.read()[-8000:]])

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """SIGKILL: what a crash or the out-of-memory killer does."""
        return self._end(signal.SIGKILL)

    def _end(self, how: int) -> int:
        process, self.process = self.process, None
        if process is None:
            return 0
        process.send_signal(how)
        try:
            status = process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"the server did not end within 60 s of signal {how}\n{self.log()}") from None
        process.stdout.close()
        return status

    def restart(self, *, crash: bool = False) -> "Server":
        """Ends the server (by SIGKILL when `crash`) and starts it on the same data and the same ports."""
        status = self.kill() if crash else self.stop()
        assert crash or status == 0, f"exit status {status} after SIGTERM\n{self.log()}"
        return self.start()

    def get(self, path: str) -> tuple[int, str]:
        """GET on the HTTP door: status and body."""
        with urllib.request.urlopen(self.http + path, timeout=30) as reply:
            return reply.status, reply.read().decode()


class RunningServer:
    """A server that somebody else started (`$ELANUS_E2E_URI`): a real Milvus or another that speaks its protocol."""

    controllable = False

    def __init__(self, uri: str):
        self.uri = uri
        self.address = uri.split("://", 1)[-1]

    def log(self) -> str:
        return f"(the server at {self.uri} is not ours)"
