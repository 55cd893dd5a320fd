"""A server for notebooks and tests: the `elanus` binary as a child process."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
from pathlib import Path


def serve(path: str | os.PathLike[str], binary: str | os.PathLike[str] | None = None) -> Server:
    """Serves the data directory `path` on free ports, and waits until it answers.

    The binary is `binary`, else the variable ELANUS_BIN, else `elanus` on the PATH.
    """
    found = binary or os.environ.get("ELANUS_BIN") or shutil.which("elanus")
    if found is None:
        raise FileNotFoundError("no elanus binary: put it on the PATH, set ELANUS_BIN, or give binary=")
    return Server(Path(found), Path(path))


class Server:
    """A running server. `stop()` it, or use it as a context."""

    def __init__(self, binary: Path, data: Path):
        self._log = tempfile.TemporaryFile(mode="w+")
        free = "127.0.0.1:0"
        self._process = subprocess.Popen(
            [binary, "serve", "--data", data, "--milvus-addr", free, "--flight-addr", free, "--http-addr", free],
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        doors = {}
        for line in self._process.stdout or ():
            # elanus: milvus door ready on 127.0.0.1:19530
            words = line.split()
            doors[words[1]] = words[-1]
            if len(doors) == 3:
                break
        if len(doors) < 3:
            self._process.wait()
            self._log.seek(0)
            raise RuntimeError(f"the server did not start:\n{self._log.read()}")
        self.flight_uri = f"grpc://{doors['flight']}"
        self.milvus_uri = f"http://{doors['milvus']}"
        self.http_uri = f"http://{doors['http']}"
        # A kernel that ends takes its server along, so that the directory is free.
        atexit.register(self.stop)

    def stop(self) -> None:
        """Ends the server after its running requests; what was acknowledged is on disk."""
        atexit.unregister(self.stop)
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
        self._log.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
