"""Sessions with the ADBC driver whose network fails: with cookies they go on, without they begin anew."""

from __future__ import annotations

import socket
import threading

import adbc_driver_flightsql.dbapi as flightsql
import pytest

COOKIES = "adbc.flight.sql.rpc.with_cookie_middleware"


class Proxy:
    """Passes bytes on to the server, until it is told to cut every connection."""

    def __init__(self, port: int):
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()
        self.uri = f"grpc://127.0.0.1:{self._listener.getsockname()[1]}"

    def _accept(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._port))
            self._open += [near, far]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._copy, args=(one, other), daemon=True).start()

    @staticmethod
    def _copy(one: socket.socket, other: socket.socket):
        try:
            while data := one.recv(65536):
                other.sendall(data)
        except OSError:
            pass
        finally:
            for end in (one, other):
                end.close()

    def cut(self):
        """Ends the connections that are there; new ones are taken."""
        for end in self._open:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self._open.clear()

    def close(self):
        self._listener.close()
        self.cut()


@pytest.fixture
def proxy(server):
    proxy = Proxy(server.flight_port)
    yield proxy
    proxy.close()


def again(cursor, statement: str) -> list:
    """The rows of a statement; the first try may find that the connection is gone."""
    for _ in range(20):
        try:
            cursor.execute(statement)
            return cursor.fetchall()
        except Exception as error:  # noqa: BLE001: each driver has its own
            assert "UNAVAILABLE" in str(error) or "Unavailable" in str(error), error
    raise AssertionError("the driver did not connect again")


@pytest.mark.parametrize(("cookies", "kept"), [("true", True), ("false", False)])
def test_settings_outlive_a_broken_connection_with_cookies(server, proxy, cookies, kept):
    with flightsql.connect(proxy.uri, db_kwargs={COOKIES: cookies}, autocommit=True) as connection:
        with connection.cursor() as cursor:
            cursor.execute("SET elanus.ef_search = 321")
            cursor.execute("SHOW elanus.ef_search")
            assert "321" in str(cursor.fetchall())
        proxy.cut()
        with connection.cursor() as cursor:
            assert ("321" in str(again(cursor, "SHOW elanus.ef_search"))) is kept


@pytest.mark.parametrize("cookies", ["true", "false"])
def test_a_prepared_statement_outlives_a_broken_connection_with_cookies(server, proxy, cookies):
    with flightsql.connect(proxy.uri, db_kwargs={COOKIES: cookies}, autocommit=True) as connection:
        with connection.cursor() as cursor:
            statement = "SELECT 41 + 1 AS answer"
            cursor.execute(statement)
            assert cursor.fetchall() == [(42,)]
            proxy.cut()
            # The cursor keeps what it has prepared for the same text.
            if cookies == "true":
                assert again(cursor, statement) == [(42,)]
            else:
                with pytest.raises(AssertionError, match="no such prepared statement in this session"):
                    again(cursor, statement)


def test_the_python_package_keeps_its_session(server, proxy):
    from test_flight_python import elanus

    with elanus.connect(proxy.uri) as db:
        db.sql("SET elanus.ef_search = 321")
        proxy.cut()
        with db.adbc.cursor() as cursor:
            assert "321" in str(again(cursor, "SHOW elanus.ef_search"))
