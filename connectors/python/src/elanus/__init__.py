"""Elanus from Python: SQL with vectors over Arrow Flight SQL, and a server for notebooks."""

from ._connection import Connection, Result, connect
from ._server import Server, serve

__all__ = ["Connection", "Result", "Server", "connect", "serve"]
