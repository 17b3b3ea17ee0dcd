"""Addresses, sign-in and driver of SQL Server; and real ODBC, in a process of its own, against ports without one."""

from __future__ import annotations

import platform
import socket
import struct
import threading
import types

from pathlib import Path
from urllib.parse import quote, urlsplit

import azure.identity
import pytest

from azure.core.exceptions import ClientAuthenticationError

from shared.azure import identity
from shared.errors import ConfigError
from shared.mssql import odbc as our_odbc
from shared.mssql.odbc import DRIVER, address, connect, credential, driver, load_pyodbc, packed, token
from tests.servers import free_port, odbc

SECRET = "hunter2;}{=&?#/:@%'é🔑"
PLAIN = "mssql://db.test/sales"


def url(query: str = "", who: str = "", host: str = "db.test", database: str = "sales") -> str:
    return f"mssql://{who}{host}/{database}{'?' if query else ''}{query}"


# -- addresses


def test_address_has_server_database_and_who_signs_in():
    """With what SQL Server listens on where no port is given."""
    found = address(f"mssql://app:{quote(SECRET, safe='')}@db.test/sales")

    assert ("db.test", 1433, "sales") == (found.host, found.port, found.database)
    assert ("app", SECRET, "SqlPassword", False) == (found.user, found.password, found.sign_in, found.trust)


@pytest.mark.parametrize(
    ("host", "server"),
    [
        ("db.test:14330", "tcp:db.test,14330"),
        ("127.0.0.1:1", "tcp:127.0.0.1,1"),
        ("[::1]:1433", "tcp:::1,1433"),  # as Microsoft's driver takes it: not in brackets
        ("[2001:db8::5]", "tcp:2001:db8::5,1433"),
        ("acme.database.windows.net", "tcp:acme.database.windows.net,1433"),
    ],
)
def test_host_may_be_a_name_or_an_address_with_a_port(host, server):
    """Of either family."""
    assert f"Server={server};" in address(url(host=host)).text()


@pytest.mark.parametrize(
    ("database", "reported"),
    [("a%20b", "{a b}"), ("a%7Db", "{a}}b}"), ("x%3BUID%3Dsa", "{x;UID=sa}"), ("ü%2Fx", "{ü/x}")],
)
def test_database_is_decoded_and_in_braces(database, reported):
    """No character of its name ends it."""
    assert f";Database={reported};" in address(url(database=database)).text()


@pytest.mark.parametrize(
    ("query", "who", "sign_in"),
    [
        ("", "", "ActiveDirectoryDefault"),
        ("", "app:x@", "SqlPassword"),
        ("authentication=SqlPassword", "app:x@", "SqlPassword"),
        ("Authentication=ActiveDirectoryMsi", "", "ActiveDirectoryMsi"),
        ("authentication=ACTIVEDIRECTORYMSI", "some-client-id@", "ActiveDirectoryMsi"),
        ("authentication=ActiveDirectoryManagedIdentity", "", "ActiveDirectoryMsi"),
        ("authentication=ActiveDirectoryWorkloadIdentity", "", "ActiveDirectoryWorkloadIdentity"),
        ("AUTHENTICATION=activedirectorydefault", "", "ActiveDirectoryDefault"),
    ],
)
def test_authentication_is_known_in_every_spelling(query, who, sign_in):
    """As Microsoft's drivers have it; without any, a password decides."""
    assert sign_in == address(url(query, who)).sign_in


@pytest.mark.parametrize(
    ("query", "trusts"),
    [
        ("TrustServerCertificate=yes", True), ("trust_server_certificate=true", True),
        ("Trust%20Server%20Certificate=YES", True), ("trustservercertificate=no", False), ("", False),
    ],
)  # fmt: skip
def test_any_certificate_is_taken_only_if_requested(query, trusts):
    """With blanks, underscores or none."""
    assert trusts == address(url(query)).trust
    assert f"TrustServerCertificate={'yes' if trusts else 'no'}" in address(url(query)).text()


@pytest.mark.parametrize(
    ("query", "reported"), [("", "yes"), ("Encrypt=yes", "yes"), ("encrypt=true", "yes"), ("Encrypt=Mandatory", "yes"),
                        ("Encrypt=strict", "strict")]
)  # fmt: skip
def test_connections_are_always_encrypted(query, reported):
    """And never less strictly than asked for."""
    assert f";Encrypt={reported};" in address(url(query)).text()


def test_driver_in_an_address_is_passed_over():
    """URLs of other tools have it; which one is here is for us to find."""
    assert address(PLAIN) == address(url("driver=ODBC+Driver+17+for+SQL+Server"))


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ("mssql:///sales", "names no server or no database"),
        ("mssql://db.test", "names no server or no database"),
        ("mssql://db.test/", "names no server or no database"),
        (f"mssql://sa:{SECRET}@db.test/sales", "cannot be read"),
        ("mssql://sa:hunter2@db.test:many/sales", "cannot be read"),
        ("mssql://sa:hunter2@db.test:70000/sales", "cannot be read"),
        ("mssql://sa:hunter2@[::1/sales", "cannot be read"),
        (url("Encrypt=no", "sa:hunter2@"), "turns encryption off"),
        (url("Encrypt=optional", "sa:hunter2@"), "turns encryption off"),
        (url("Timeout=3&x=hunter2", "sa:hunter2@"), "has option timeout, x"),
        (
            url("authentication=ActiveDirectoryPassword", "sa:hunter2@"),
            "has unknown authentication ActiveDirectoryPassword",
        ),
        (url("authentication=SqlPassword"), "has no user or no password"),
        (url("authentication=SqlPassword", "sa@"), "has no user or no password"),
        (url(who=":hunter2@"), "has no user or no password"),
    ],
)
def test_what_cannot_be_an_address_is_refused_without_repeating_it(wrong, problem):
    """Neither the message nor what caused it has the URL or the password."""
    with pytest.raises(ConfigError, match=problem) as refused:
        address(wrong)

    seen = f"{refused.value} {refused.value.__cause__}"
    assert "hunter2" not in seen
    assert "mssql://sa" not in seen


def test_password_is_not_shown():
    """Neither of the address nor of what it is written in."""
    assert "hunter2" not in repr(address(url(who="app:hunter2@")))


def test_connection_string_says_only_what_is_needed():
    """No pooling, no failover partner, no name of an app: the server's defaults are right."""
    text = address(url(who="app:p%3B%7D%7B@")).text(driver=DRIVER)

    assert (
        "Driver={ODBC Driver 18 for SQL Server};Server=tcp:db.test,1433;Database={sales};Encrypt=yes;"
        "TrustServerCertificate=no;UID={app};PWD={p;}}{}"
    ) == text


@pytest.mark.parametrize("sign_in", ["ActiveDirectoryMsi", "ActiveDirectoryWorkloadIdentity", "ActiveDirectoryDefault"])
def test_connection_string_for_a_token_names_nobody(sign_in):
    """The driver refuses a token beside UID, PWD or Authentication."""
    text = address(url(f"authentication={sign_in}", "some-id:unused@")).text()

    assert "Server=tcp:db.test,1433;Database={sales};Encrypt=yes;TrustServerCertificate=no" == text


# -- signing in


def test_token_is_packed_as_the_driver_wants_it():
    """Four bytes of length, little-endian, then UTF-16LE without an end; attribute 1256."""
    assert {1256: b"\x06\x00\x00\x00e\x00y\x00J\x00"} == packed("eyJ")
    assert {1256: struct.pack("<I", 4_000) + b"x\0" * 2_000} == packed("x" * 2_000)


class Known:
    """A credential that remembers how it was made, and what it was asked for."""

    def __init__(self, **how):
        self.how, self.scopes = how, []

    def get_token(self, scope):
        self.scopes.append(scope)
        return types.SimpleNamespace(token="eyJ")


@pytest.fixture
def identities(monkeypatch):
    """azure-identity without Azure: each kind of credential by its name."""
    kinds = {name: type(name, (Known,), {}) for name in ("ManagedIdentityCredential", "WorkloadIdentityCredential")}
    for name, kind in kinds.items():
        monkeypatch.setattr(azure.identity, name, kind)
    monkeypatch.setattr(identity, "credential", lambda: Known(kind="default"))


@pytest.mark.usefixtures("identities")
@pytest.mark.parametrize(
    ("query", "who", "kind", "how"),
    [
        ("authentication=ActiveDirectoryMsi", "", "ManagedIdentityCredential", {}),
        ("authentication=ActiveDirectoryMsi", "an-id@", "ManagedIdentityCredential", {"client_id": "an-id"}),
        ("authentication=ActiveDirectoryWorkloadIdentity", "", "WorkloadIdentityCredential", {}),
        (
            "authentication=ActiveDirectoryWorkloadIdentity", "an-id@", "WorkloadIdentityCredential",
            {"client_id": "an-id"},
        ),
        ("", "", "Known", {"kind": "default"}),
    ],
)  # fmt: skip
def test_identity_is_the_one_that_is_requested(query, who, kind, how):
    """A user-assigned one by its client id; its token is for databases and nothing else."""
    found = credential(address(url(query, who)))

    assert (kind, how) == (type(found).__name__, found.how)
    assert "eyJ" == token(address(url(query, who)))


@pytest.fixture(autouse=True)
def nobody_is_remembered():
    """A credential lasts as long as the process, and its tokens with it."""
    credential.cache_clear()
    yield
    credential.cache_clear()


def test_token_is_for_databases(monkeypatch):
    """Its scope names no other service."""
    known = Known()
    monkeypatch.setattr(identity, "credential", lambda: known)

    token(address(PLAIN))

    assert ["https://database.windows.net/.default"] == known.scopes


def test_password_needs_no_token():
    """Nobody is asked for one."""
    assert credential(address(url(who="app:x@"))) is None
    assert token(address(url(who="app:x@"))) is None


@pytest.mark.parametrize("reported", ["no identity here.\nTo fix it read a very long page", ""])
def test_missing_identity_says_what_to_check(monkeypatch, reported):
    """In one line, however much azure-identity has to say."""

    class Nobody(Known):
        def get_token(self, scope):
            raise ClientAuthenticationError(reported)

    monkeypatch.setattr(identity, "credential", Nobody)

    with pytest.raises(
        ConfigError, match=r"^no token for the database with ActiveDirectoryDefault: .*az login"
    ) as said:
        token(address(PLAIN))
    assert "page" not in str(said.value)


def test_workload_identity_without_its_environment_is_reported(monkeypatch):
    """azure-identity raises ValueError then, before any token is asked for."""
    for name in ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)

    with pytest.raises(ConfigError, match="no token for the database with ActiveDirectoryWorkloadIdentity"):
        token(address(url("authentication=ActiveDirectoryWorkloadIdentity")))


class Odbc:
    """The part of pyodbc that opens connections, remembering how."""

    def __init__(self, *drivers):
        self.reported = ()
        self._drivers = list(drivers)

    def drivers(self):
        return self._drivers

    def connect(self, *reported, **more):
        self.reported = (*reported, more)
        return "a connection"


def test_connection_with_a_password_has_no_attributes():
    """Transactions are ours, and a database that paused gets the time to come back."""
    module, where = Odbc(DRIVER), address(url(who="app:x@"))

    assert "a connection" == connect(module, where)
    assert (where.text(driver=DRIVER), {"autocommit": True, "timeout": 30}) == module.reported


@pytest.mark.usefixtures("identities")
def test_connection_with_an_identity_hands_the_token_over():
    """As an attribute that is set before connecting, and in no text."""
    module, where = Odbc(DRIVER), address(url("authentication=ActiveDirectoryMsi", "an-id@"))

    connect(module, where)

    text, more = module.reported
    assert packed("eyJ") == more["attrs_before"]
    assert "eyJ" not in text
    assert "an-id" not in text


# -- driver


def test_driver_of_the_system_goes_first():
    """Whoever installed one had a reason."""
    assert DRIVER == driver(Odbc("ODBC Driver 17 for SQL Server", DRIVER, "FreeTDS"))


@pytest.fixture
def wheel(monkeypatch, tmp_path):
    """A wheel of Microsoft's driver with libraries for some systems; below a folder that is named like machines."""

    def make(*places):
        home = tmp_path / "x86_64-arm64" / "mssql_python_odbc"
        for place in places:
            library = home / "libs" / place / "lib" / "libmsodbcsql-18.6.so.2.1"
            library.parent.mkdir(parents=True)
            library.touch()
        package = types.SimpleNamespace(__file__=str(home / "__init__.py"))
        monkeypatch.setattr(our_odbc.importlib, "import_module", lambda name: {"mssql_python_odbc": package}[name])
        return home / "libs"

    return make


EVERYWHERE = tuple(f"linux/{kind}/{machine}" for kind in ("debian_ubuntu", "rhel") for machine in ("arm64", "x86_64"))


@pytest.mark.parametrize(
    ("machine", "system", "place"),
    [
        ("x86_64", {"ID": "debian"}, "linux/debian_ubuntu/x86_64"),
        ("AMD64", {"ID": "ubuntu", "ID_LIKE": "debian"}, "linux/debian_ubuntu/x86_64"),
        ("aarch64", {"ID": "debian"}, "linux/debian_ubuntu/arm64"),
        ("x86_64", {"ID": "rocky", "ID_LIKE": "rhel centos fedora"}, "linux/rhel/x86_64"),
        ("arm64", {"ID": "fedora"}, "linux/rhel/arm64"),
    ],
)
def test_packaged_driver_is_the_one_for_this_machine(wheel, monkeypatch, machine, system, place):
    """Wherever Python is installed: only folders of the wheel itself tell."""
    libraries = wheel(*EVERYWHERE)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: system)

    found = Path(driver(Odbc("ODBC Driver 17 for SQL Server")))

    assert place == found.relative_to(libraries).parent.parent.as_posix()


def test_wheel_for_other_machines_is_none(wheel, monkeypatch):
    """A library of another kind of processor would fail with a riddle."""
    wheel("linux/debian_ubuntu/arm64")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")

    with pytest.raises(ConfigError, match="there is no ODBC Driver 18"):
        driver(Odbc())


@pytest.mark.parametrize(
    ("drivers", "only"), [((), r"here\. "), (("ODBC Driver 17 for SQL Server",), "here, only ODBC Driver 17")]
)
def test_no_driver_is_one_clear_error(monkeypatch, drivers, only):
    """It says what there is, and two ways to get the right one."""

    def nothing(name):
        raise ImportError(name)

    monkeypatch.setattr(our_odbc.importlib, "import_module", nothing)

    with pytest.raises(ConfigError, match=f"there is no ODBC Driver 18 for SQL Server {only}") as said:
        driver(Odbc(*drivers))
    assert "msodbcsql18" in said.value.fix
    assert "pip install mssql-python-odbc" in said.value.fix


def test_missing_unixodbc_is_one_clear_error(monkeypatch):
    """The wheel of pyodbc comes without it on Linux."""

    def missing(_):
        raise ImportError("libodbc.so.2: cannot open shared object file: No such file or directory")

    monkeypatch.setattr(our_odbc.importlib, "import_module", missing)

    with pytest.raises(ConfigError, match=r"ODBC cannot be used here: libodbc.so.2.* Install unixODBC"):
        load_pyodbc()


def test_pooling_is_off_before_the_first_connection(monkeypatch):
    """A pooled connection would keep a serverless database awake, and might be somebody else's."""
    module = types.SimpleNamespace(pooling=True)
    monkeypatch.setattr(our_odbc.importlib, "import_module", lambda name: {"pyodbc": module}[name])

    assert load_pyodbc() is module
    assert module.pooling is False


# -- real ODBC


@pytest.fixture(scope="module")
def libraries():
    return odbc.libraries()


UNIT = """
import logging; logging.disable()
import stamina
from shared.settings import Settings
from shared.errors import IngestError
from shared.mssql import odbc
from shared.warehouses.azure_sql.engine import AzureSQL
odbc.LOGIN_TIMEOUT = 1
opened, connect = [], odbc.connect
odbc.connect = lambda *told: (opened.append(1), connect(*told))[1]
url = {url!r}
engine = AzureSQL(Settings.from_env({{"WAREHOUSE_URL": url}}), odbc.address(url))
with stamina.set_testing(True, attempts={attempts}, cap=True):
    try:
        engine.units.run(lambda session: session.first("SELECT 1"))
    except IngestError as error:
        print(json.dumps([type(error).__name__, str(error), len(opened), engine.odbc.pooling]))
"""


def test_packaged_driver_is_found_and_loads(libraries):
    """With real pyodbc, where the system has no driver of its own."""
    code = "from shared.mssql import odbc; p = odbc.load_pyodbc(); "

    system, found = odbc.run(libraries, code + "print(json.dumps([p.drivers(), odbc.driver(p)]))")

    assert found == DRIVER if DRIVER in system else "libmsodbcsql" in found


def test_closed_port_may_open_later(libraries):
    """Nobody listens: the driver's own time passes at each try, and then the error says so."""
    place = f"mssql://app:{quote(SECRET, safe='')}@127.0.0.1:{free_port()}/sales"

    kind, reported, tries, pooling = odbc.run(libraries, UNIT.format(url=place, attempts=9))

    assert ("TransientError", 2, False) == (kind, tries, pooling)
    assert reported.startswith(
        f"Azure SQL: no answer from 127.0.0.1, port {urlsplit(place).port}: Login timeout expired"
    )
    assert "hunter2" not in reported


@pytest.fixture(params=["HTTP/1.0 400 Bad Request\r\n\r\n", ""], ids=["speaks HTTP", "hangs up"])
def stranger(request):
    """The port of a server that speaks no TDS, and the number of those who came."""
    came = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve():
            while True:
                try:
                    visitor, _ = listening.accept()
                except OSError:
                    return
                with visitor:
                    came.append(visitor.recv(100))
                    visitor.sendall(request.param.encode())

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1], came
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def test_server_that_speaks_no_tds_is_tried_five_times(libraries, stranger):
    """A gateway that is starting up answers so too; each try is a connection of its own."""
    port, came = stranger
    place = f"mssql://app:{quote(SECRET, safe='')}@127.0.0.1:{port}/sales"

    kind, reported, tries, _ = odbc.run(libraries, UNIT.format(url=place, attempts=9))

    assert ("TransientError", 5, 5) == (kind, tries, len(came))
    assert reported.startswith("Azure SQL: ")
    assert "Several tries have failed: load again later" in reported
    assert "hunter2" not in reported
