"""Users through the running server: passwords, roles, privileges, on both doors, over restarts."""

import base64
import urllib.error
import urllib.request

import adbc_driver_flightsql.dbapi as flightsql
import grpc
import pyarrow.flight as flight
import pytest
from harness import REPOSITORY, Server, binary
from pymilvus import MilvusClient, MilvusException
from terminal import Terminal

ROOT = "root:Root-pass-1"
PREBUILT = REPOSITORY / "plugins" / "examples" / "prebuilt"


@pytest.fixture
def guarded(tmp_path, monkeypatch):
    """A server that asks for users, with a collection, a reader and one who registers plugins."""
    monkeypatch.setenv("ELANUS_ROOT_PASSWORD", "Root-pass-1")
    server = Server(tmp_path / "data", "--auth", "--allow-files", str(PREBUILT)).start()
    root = MilvusClient(server.uri, token=ROOT)
    for name in ("docs", "other"):
        root.create_collection(name, dimension=2)
        root.insert(name, [{"id": i, "vector": [1.0, i / 10]} for i in range(5)])
    root.create_role("reader")
    root.grant_privilege_v2("reader", "CollectionReadOnly", "docs", db_name="default")
    root.create_user("ann", "Ann-pass-1")
    root.grant_role("ann", "reader")
    root.create_role("plugins")
    root.grant_privilege_v2("plugins", "RegisterPlugin", "*", db_name="*")
    root.create_user("pia", "Pia-pass-1")
    root.grant_role("pia", "plugins")
    root.close()
    yield server
    server.kill()


def adbc(server, user, password):
    return flightsql.connect(server.flight, db_kwargs={"username": user, "password": password}, autocommit=True)


def run(server, user, password, statement):
    with adbc(server, user, password) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def refused(server, user, password, statement, what):
    with pytest.raises(flightsql.Error) as error:
        run(server, user, password, statement)
    assert what in str(error.value), error.value


def test_a_reader_searches_and_does_nothing_else_through_either_door(guarded):
    ann = MilvusClient(guarded.uri, token="ann:Ann-pass-1")
    assert ann.search("docs", [[1.0, 0.0]], limit=1)[0][0]["id"] == 0
    assert len(ann.query("docs", "id < 3")) == 3
    for call in (
        lambda: ann.insert("docs", [{"id": 9, "vector": [0.0, 1.0]}]),
        lambda: ann.delete("docs", ids=[1]),
        lambda: ann.search("other", [[1.0, 0.0]], limit=1),
        lambda: ann.drop_collection("docs"),
        lambda: ann.create_user("eve", "Eve-pass-1"),
        lambda: ann.grant_role("ann", "admin"),
    ):
        with pytest.raises(grpc.RpcError, match="permission deny to ann"):
            call()
    ann.close()
    assert run(guarded, "ann", "Ann-pass-1", "SELECT count(*) FROM docs") == [(5,)]
    for statement, what in [
        ("INSERT INTO docs (id, vector) VALUES (9, '[0, 1]')", "PrivilegeInsert"),
        ("SELECT count(*) FROM other", "PrivilegeQuery"),
        ("DROP TABLE docs", "PrivilegeDropCollection"),
        (f"CREATE RERANKER r FROM '{PREBUILT / 'mmr.wasm'}'", "PrivilegeRegisterPlugin"),
        ("CREATE USER eve PASSWORD 'Eve-pass-1'", "PrivilegeCreateOwnership"),
        ("GRANT admin TO ann", "PrivilegeManageOwnership"),
    ]:
        refused(guarded, "ann", "Ann-pass-1", statement, what)


def test_plugins_are_registered_by_those_with_the_privilege(guarded):
    statement = f"CREATE RERANKER r FROM '{PREBUILT / 'mmr.wasm'}'"
    run(guarded, "pia", "Pia-pass-1", statement)
    refused(guarded, "pia", "Pia-pass-1", "SELECT * FROM docs", "PrivilegeQuery")
    refused(guarded, "ann", "Ann-pass-1", "DROP RERANKER r", "PrivilegeRegisterPlugin")
    client = flight.connect(guarded.flight)
    upload = flight.Action("elanus.UploadPlugin", (PREBUILT / "mmr.wasm").read_bytes())

    def sent(user, password):
        options = flight.FlightCallOptions(headers=[client.authenticate_basic_token(user, password)])
        return [bytes(result.body) for result in client.do_action(upload, options)]

    assert sent("pia", "Pia-pass-1")[0].startswith(b"sha256:")
    with pytest.raises(flight.FlightUnauthorizedError, match="PrivilegeRegisterPlugin"):
        sent("ann", "Ann-pass-1")
    client.close()
    run(guarded, "pia", "Pia-pass-1", "DROP RERANKER r")


def connecting(uri, **given) -> str:
    """What the server says to a client that pymilvus then calls unable to connect."""
    with pytest.raises(MilvusException, match="Fail connecting") as error:
        MilvusClient(uri, timeout=5, **given)
    return str(error.value.__cause__)


def test_nobody_and_wrong_passwords_are_refused_on_every_door(guarded):
    for token in ("root:wrong-pass", "nobody:Root-pass-1", "an-api-key"):
        assert "auth check failure" in connecting(guarded.uri, token=token)
    assert "missing authorization" in connecting(guarded.uri)
    refused(guarded, "root", "wrong-pass", "SELECT 1", "auth check failure")
    client = flight.connect(guarded.flight)
    calls = [
        lambda: list(client.list_flights()),
        lambda: list(client.list_actions()),
        lambda: list(client.do_action(flight.Action("GetSessionOptions", b""))),
        lambda: client.get_flight_info(flight.FlightDescriptor.for_command(b"")),
        lambda: client.get_schema(flight.FlightDescriptor.for_command(b"")),
        lambda: client.do_get(flight.Ticket(b"")).read_all(),
        lambda: client.authenticate_basic_token("root", "wrong-pass"),
    ]
    for call in calls:
        # What fails while rows are read is an OSError to pyarrow.
        with pytest.raises((flight.FlightUnauthenticatedError, OSError), match="[Uu]nauthenticated"):
            call()
    stale = flight.FlightCallOptions(headers=[(b"authorization", b"Bearer 01ARZ3NDEKTSV4RRFFQ69G5FAV")])
    with pytest.raises(flight.FlightUnauthenticatedError, match="token"):
        list(client.list_actions(stale))
    client.close()
    for path in ("/healthz", "/livez"):
        assert urllib.request.urlopen(guarded.http + path).status == 200
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(guarded.http + "/metrics")
    basic = base64.b64encode(ROOT.encode()).decode()
    request = urllib.request.Request(guarded.http + "/metrics", headers={"Authorization": f"Basic {basic}"})
    assert b"elanus" in urllib.request.urlopen(request).read()


def test_a_changed_password_holds_at_once_and_everything_over_a_restart(guarded):
    client = flight.connect(guarded.flight)
    options = flight.FlightCallOptions(headers=[client.authenticate_basic_token("ann", "Ann-pass-1")])
    assert list(client.list_actions(options))
    ann = MilvusClient(guarded.uri, token="ann:Ann-pass-1")
    with pytest.raises(MilvusException, match="old password not correct"):
        ann.update_password("ann", "wrong-pass", "Ann-pass-2")
    ann.update_password("ann", "Ann-pass-1", "Ann-pass-2")
    with pytest.raises(grpc.RpcError, match="auth check failure"):
        ann.list_collections()
    ann.close()
    with pytest.raises(flight.FlightUnauthenticatedError):
        list(client.list_actions(options))
    client.close()
    run(guarded, "root", "Root-pass-1", "ALTER USER ann PASSWORD 'Ann-pass-3'")
    assert guarded.stop() == 0
    log = guarded.log()
    for secret in ("Root-pass", "Ann-pass", "Pia-pass"):
        assert secret not in log
    guarded.start()
    refused(guarded, "ann", "Ann-pass-2", "SELECT 1", "auth check failure")
    assert run(guarded, "ann", "Ann-pass-3", "SELECT count(*) FROM docs") == [(5,)]
    root = MilvusClient(guarded.uri, token=ROOT)
    assert sorted(root.list_users()) == ["ann", "pia", "root"]
    assert sorted(root.list_roles()) == ["admin", "plugins", "public", "reader"]
    root.close()


def test_roles_and_grants_as_pymilvus_shows_them(guarded):
    root = MilvusClient(guarded.uri, token=ROOT)
    assert root.describe_user("ann")["roles"] == ("reader",)
    [privilege] = root.describe_role("reader")["privileges"]
    assert (privilege["privilege"], privilege["object_name"], privilege["db_name"]) == ("CollectionReadOnly", "docs", "default")
    with pytest.raises(MilvusException, match="did you mean Query"):
        root.grant_privilege_v2("reader", "Qery", "docs", db_name="default")
    with pytest.raises(MilvusException, match="must be"):
        root.grant_privilege_v2("reader", "CreateDatabase", "docs", db_name="default")
    root.grant_privilege("reader", "Collection", "Insert", "docs")
    root.create_privilege_group("ours")
    root.add_privileges_to_group("ours", ["Delete", "Upsert"])
    root.grant_privilege_v2("reader", "ours", "docs", db_name="default")
    ann = MilvusClient(guarded.uri, token="ann:Ann-pass-1")
    ann.insert("docs", [{"id": 9, "vector": [0.0, 1.0]}])
    ann.delete("docs", ids=[9])
    root.remove_privileges_from_group("ours", ["Delete"])
    with pytest.raises(grpc.RpcError, match="PrivilegeDelete"):
        ann.delete("docs", ids=[9])
    assert {group["privilege_group"] for group in root.list_privilege_groups()} >= {"ours", "CollectionReadOnly"}
    root.revoke_role("ann", "reader")
    with pytest.raises(grpc.RpcError, match="permission deny to ann"):
        ann.query("docs", "id < 3")
    with pytest.raises(MilvusException, match="privileges"):
        root.drop_role("reader")
    root.drop_role("reader", force_drop=True)
    root.drop_user("ann")
    with pytest.raises(grpc.RpcError, match="auth check failure"):
        ann.list_collections()
    with pytest.raises(MilvusException, match="cannot be deleted"):
        root.drop_user("root")
    ann.close()
    root.close()


def test_the_shell_takes_a_user_and_a_server_without_a_password_for_root_does_not_start(guarded, tmp_path):
    import os
    import subprocess

    shell = [str(binary()), "sql", "--connect", guarded.flight, "-c", "SELECT count(*) AS n FROM docs", "--format", "csv"]
    without = {name: value for name, value in os.environ.items() if name != "ELANUS_ROOT_PASSWORD"}

    def ran(*more, **variables):
        options = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "timeout": 60}
        return subprocess.run([*shell, *more], env={**without, **variables}, **options)

    done = ran("--user", "ann", ELANUS_PASSWORD="Ann-pass-1")
    assert (done.returncode, done.stdout) == (0, "n\n5\n"), done.stderr
    assert "auth check failure" in ran("--user", "ann", ELANUS_PASSWORD="wrong-pass").stderr
    assert "ELANUS_PASSWORD" in ran("--user", "ann").stderr
    assert "this server asks for a user" in ran().stderr
    serve = [str(binary()), "serve", "--data", str(tmp_path / "new"), "--auth"]
    for door in ("--milvus-addr", "--flight-addr", "--http-addr"):
        serve += [door, "127.0.0.1:0"]
    done = subprocess.run(serve, env=without, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "ELANUS_ROOT_PASSWORD" in done.stderr, done.stderr


def test_the_shell_asks_for_a_password_and_forgets_those_that_are_typed(guarded, tmp_path, monkeypatch):
    monkeypatch.delenv("ELANUS_PASSWORD", raising=False)
    terminal = Terminal(["--connect", guarded.flight, "--user", "ann"], tmp_path)
    terminal.until("Password for user ann: ")
    terminal.type_unseen("Ann-pass-1\r")
    assert "Ann-pass-1" not in terminal.until("elanus> ")
    terminal.type("ALTER USER ann PASSWORD 'Ann-pass-2';\r")
    terminal.until("elanus> ")
    terminal.type("\\timing\r")
    terminal.until("elanus> ")
    terminal.type("\\q\r")
    assert terminal.end() == 0
    history = (tmp_path / "state" / "elanus" / "history").read_text()
    assert "timing" in history and "Ann-pass" not in history, history
    assert run(guarded, "ann", "Ann-pass-2", "SELECT count(*) FROM docs") == [(5,)]
