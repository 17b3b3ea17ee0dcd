"""What SQL Server's errors mean to a unit of work: which are tried again, how often, and what is said in the end."""

from __future__ import annotations

import pytest
import stamina

from shared.errors import ConfigError, DataError, IngestError, TransientError
from shared.mssql import odbc
from shared.mssql.errors import in_words, is_data_fault, may_pass, number, translated
from shared.settings import Settings
from shared.warehouses.azure_sql import tsql
from shared.warehouses.azure_sql.engine import AzureSQL
from tests.standins.tsql import engine as stand_in
from tests.standins.tsql import errors
from tests.standins.tsql.engine import Server
from tests.suites.warehouse_case import WarehouseCase, row, some
from tests.warehouses.azure_sql.samples import batch, filled, staging

URL = "mssql://app:hunter2@db.test/sales"

# Numbers of Microsoft's pages, by what has to become of them.
MICROSOFTS = (926, 40197, 40501, 40613, 49918, 49919, 49920, 4221, 615)
GUIDES = (11001, 64, 233, 10053, 10054, 10060, 10928, 10929, 10936, 40143, 40166, 40540, 40020)
STATEMENTS = (1205, 1222, 3960, 4891, 4892)
RETRYABLE = (*MICROSOFTS, *GUIDES, *STATEMENTS)
VALUES = (4863, 4864, 4865, 4867, 4869, 4879, 13811, 13812, 13813, 13814, 13817, 245, 8114, 8115, 241, 242, 8152, 2628,
          2601, 2627)  # fmt: skip
LASTING = (
    4060,
    4819, 4820, 4822, 4832, 4834, 4860, 4861, 4862, 4866, 4868, 4870, 4871, 4878, 4880, 4889, 4895, 4898, 4899, 5339,
    5301, 5304, 7301, 7330, 7399, 12703, 12704, 12705, 12713, 13807, 13818, 13819, 13820, 13822, 13823, 13825, 13830,
    15151, 8672, 10713, 40544, 40615, 40914, 18456, 40549, 40550, 40551, 40552, 40553, 207, 208, 102, 229, 262,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _no_waits():
    with stamina.set_testing(True, attempts=99, cap=True):
        yield


@pytest.fixture
def server():
    return Server()


@pytest.fixture(scope="module")
def one_server():
    """For the tables of numbers, none of which leaves anything behind."""
    return Server()


@pytest.fixture
def wanted(one_server):
    """Fails whatever asks for 1 with a number as often as told; then how often it was asked for, by whom."""

    def fail(code, times):
        one_server.statements.clear()
        before = one_server.open_connections
        one_server.fail_next("SELECT 1", code, times=times)
        engine = engine_of(one_server)
        try:
            return engine.units.run(lambda session: session.first("SELECT 1"))
        finally:
            engine.units.close_idle()
            one_server._faults.clear()
            assert before == one_server.open_connections

    return fail


def tries(server, text="SELECT 1"):
    return sum(text in sent for sent in server.statements)


def engine_of(server, **env):
    reported = {"WAREHOUSE_URL": URL, "WAREHOUSE_LOADER": "array", "WAREHOUSE_LOCK_TIMEOUT": "0.2", **env}
    return AzureSQL(Settings.from_env(reported), odbc.address(URL), server)


@pytest.fixture
def engine(server):
    return engine_of(server)


class Opened:
    """Counts connections, and how often a unit began."""

    def __init__(self, server, monkeypatch):
        self.connections = []
        connect = server.connect
        monkeypatch.setattr(server, "connect", lambda *a, **k: self.connections.append(1) or connect(*a, **k))

    def __len__(self):
        return len(self.connections)


@pytest.fixture
def opened(server, monkeypatch):
    return Opened(server, monkeypatch)


def insert(session):
    session.execute("INSERT INTO [kept] ([n]) VALUES (?)", 1)
    return session.first("SELECT COUNT(*) FROM [kept]")


@pytest.fixture
def table(engine):
    engine.units.run(lambda session: session.ddl("CREATE TABLE [kept] ([n] int NULL)"))
    engine.units.close_idle()


# -- the numbers


@pytest.mark.parametrize("code", RETRYABLE)
def test_what_may_pass_is_tried_five_times_and_reported_as_transient(wanted, one_server, code):
    """A wrong name of a database has the number of one that moves: that is reported as somebody's to correct."""
    with pytest.raises(TransientError, match=rf"\({code}\)"):
        wanted(code, 99)
    assert 5 == tries(one_server) == tries(one_server, "BEGIN TRANSACTION")


@pytest.mark.parametrize("code", RETRYABLE)
def test_what_has_passed_is_not_spoken_of(wanted, one_server, code):
    """The second try succeeds."""
    assert 1 == wanted(code, 1)
    assert 2 == tries(one_server)


@pytest.mark.parametrize("code", [*VALUES, *LASTING])
def test_what_lasts_is_never_tried_again(wanted, one_server, code):
    """A value's fault is reported as one, anything else as somebody's to correct."""
    with pytest.raises(DataError if code in VALUES else ConfigError) as reported:
        wanted(code, 99)

    assert 1 == tries(one_server)
    assert reported.value.fix
    assert "hunter2" not in str(reported.value)


@pytest.mark.parametrize(
    ("code", "fix"),
    [
        (18456, "sluice sql setup"), (40615, "firewall"), (40914, "virtual network"), (4060, "database's name"),
        (40544, "Free some space"), (4834, "ADMINISTER DATABASE BULK OPERATIONS"), (4860, "STAGING_URL"),
        (4861, "Storage Blob Data Reader"), (12703, "STAGING_DATA_SOURCE"), (12704, "location"),
        (12705, "BLOB_STORAGE"), (13823, "REFERENCES"), (15151, "sluice sql setup"), (40549, "Scale the database up"),
        (40552, "Scale the database up"), (262, "its rights"), (229, "its rights"), (5301, "its rights"),
        (102, "Look up error 102 at https://learn.microsoft.com/"),
    ],
)  # fmt: skip
def test_what_somebody_has_to_correct_says_how(code, fix):
    """In the words of the one who can."""
    assert fix in in_words(errors.raised(code), "Azure SQL").fix


@pytest.mark.parametrize("code", [18456, 40615, 40914, 40544])
@pytest.mark.parametrize("state", ["08001", "08004", "08S01", "HYT00"])
def test_refusal_stays_one_whatever_the_driver_calls_it(code, state):
    """A sign-in that is refused ends with a state of lost connections in some versions."""
    assert not may_pass(errors.raised(code, state=state))


@pytest.mark.parametrize("state", ["08001", "08S01", "08003", "HYT00", "HYT01", "40001"])
def test_lost_connections_may_pass_without_a_number(state):
    """The driver's own errors have none."""
    error = errors.of_driver(state, "TCP Provider: gone (0) (SQLDriverConnect)")

    assert may_pass(error)
    assert isinstance(in_words(error, "x"), TransientError)


def test_certificate_that_nobody_vouches_for_does_not_pass():
    """The driver calls it a connection that could not be made."""
    error = errors.of_driver(
        "08001", "SSL Provider: [error:0A000086::certificate verify failed:self-signed] (-1) (SQLx)"
    )

    reported = in_words(error, "Azure SQL")

    assert not may_pass(error)
    assert isinstance(reported, ConfigError)
    assert "TrustServerCertificate" in reported.fix


@pytest.mark.parametrize("state", ["01000", "IM002", "IM003"])
def test_driver_that_cannot_be_loaded_says_what_to_install(state):
    """A wheel's driver needs libraries of the system."""
    error = errors.of_driver(
        state, "[unixODBC][Driver Manager]Can't open lib 'x/libmsodbcsql' : file not found (0) (S)"
    )

    reported = in_words(error, "Azure SQL")

    assert isinstance(reported, ConfigError)
    assert "libltdl7" in reported.fix


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[SQL Server]Broken. (4864) (SQLExecDirectW)", 4864),
        ("[SQL Server]First. (4864) (SQLExecDirectW); [42000] [SQL Server]Then. (7330)", 4864),
        ("[SQL Server]Truncated value: 'x (1205) (SQLExecute)'. (2628) (SQLExecDirectW)", 2628),
        ("[SQL Server]Text (40613) in words. (8152)", 8152),
        ("TCP Provider: Error code 0x68 (104) (SQLExecDirectW)", 104),
        ("SSL Provider: certificate verify failed (-1) (SQLDriverConnect)", 0),
        ("no number at all", 0),
    ],
)
def test_number_is_the_one_at_the_end(text, expected):
    """A value that the message repeats may look like a number of its own."""
    assert expected == number(errors.Error("42000", text))


def test_errors_without_a_text_have_no_number():
    """As pyodbc raises some of its own, with one argument or none."""
    assert [0, 0] == [number(errors.ProgrammingError("closed")), number(errors.Error())]
    assert not is_data_fault(errors.Error())


def test_message_is_one_line_without_the_drivers_marks():
    """States and makers say nothing to whoever reads it."""
    error = errors.raised(8152, "String or binary data\nwould be truncated.")

    assert "Azure SQL: String or binary data would be truncated. (8152)" == in_words(error, "Azure SQL").problem


def test_other_errors_come_out_as_they_are():
    """A mistake of ours is no error of the server's, and our own errors are in words already."""
    for error in (KeyError("x"), DataError("a", fix="b")):
        with pytest.raises(type(error)) as raised, translated("Azure SQL"):
            raise error
        assert raised.value is error


# -- units of work


def test_each_try_has_a_connection_of_its_own(engine, server, opened):
    """The old one may be the very trouble."""
    server.fail_next("SELECT 1", 1205, times=2)

    engine.units.run(lambda session: session.first("SELECT 1"))

    assert 3 == len(opened)
    assert 1 == server.open_connections


def test_error_while_connecting_is_tried_again(engine, server, opened):
    """A database that paused is back after some tries."""
    server.fail_next("CONNECT", 40613, times=3)

    assert 1 == engine.units.run(lambda session: session.first("SELECT 1"))
    assert 4 == len(opened)


def test_after_a_failure_no_idle_connection_is_trusted(engine, server, opened):
    """What ended one of them has ended all: five old ones would use up every try."""
    slots = [engine.units.connection() for _ in range(4)]
    for slot in slots:
        slot.__enter__()
    for slot in slots:
        slot.__exit__(None, None, None)
    assert 4 == server.open_connections == len(opened)
    server.fail_next("SELECT 1", 10054)

    assert 1 == engine.units.run(lambda session: session.first("SELECT 1"))
    assert 5 == len(opened)
    assert 1 == server.open_connections


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize("match", ["SELECT COUNT", "INSERT INTO", "COMMIT TRANSACTION", "BEGIN TRANSACTION"])
@pytest.mark.parametrize("code", [1205, 0, 10054])
def test_unit_that_failed_before_its_commit_is_done_once(engine, server, match, code):
    """Deadlock or lost connection, at the first statement or the last: nothing of the first try stays."""
    server.fail_next(match, code)

    assert 1 == engine.units.run(insert)
    assert [(1,)] == server.query("SELECT COUNT(*) FROM [kept]")


@pytest.mark.usefixtures("table")
def test_failure_rolls_everything_back(engine, server):
    """Also for good."""
    server.fail_next("SELECT COUNT", 208)

    with pytest.raises(ConfigError):
        engine.units.run(insert)

    assert [(0,)] == server.query("SELECT COUNT(*) FROM [kept]")
    assert 0 == server.open_connections


@pytest.mark.usefixtures("table")
def test_faults_of_values_keep_their_connection(engine, server, opened):
    """One value in a thousand is looked for in many steps: a sign-in for each would take hours."""
    engine.units.run(insert)
    for _ in range(5):
        with pytest.raises(DataError):
            engine.units.run(lambda session: session.execute("INSERT INTO [kept] ([n]) VALUES (?)", "no number"))

    assert 2 == engine.units.run(insert)
    assert 1 == len(opened)


@pytest.mark.usefixtures("table")
def test_faults_that_the_driver_finds_leave_nothing_either(engine, server):
    """The server has not heard of them, and would keep the transaction open."""

    def unit(session):
        insert(session)
        cursor = session.connection.cursor()
        cursor.fast_executemany = True
        cursor.setinputsizes([(-9, 1, 0)])
        cursor.executemany("INSERT INTO [kept] ([n]) VALUES (?)", [("too long",)])

    with pytest.raises(DataError, match="truncation"):
        engine.units.run(unit)
    engine.units.run(lambda session: session.first("SELECT 1"))

    assert [(0,)] == server.query("SELECT COUNT(*) FROM [kept]")
    assert 1 == engine.units.run(insert)


def test_streams_are_tried_once(engine, server):
    """What was handed out already cannot be taken back."""
    server.fail_next("SELECT 1", 10054)

    with pytest.raises(TransientError):
        list(engine.units.stream(lambda session: iter(session.execute("SELECT 1").fetchall())))
    assert 0 == server.open_connections


# -- the run recognises its own commit


@pytest.fixture
def case(tmp_path, server):
    return WarehouseCase(tmp_path, server.query, instead={"warehouse": _warehouse(engine_of(server))})


def _warehouse(engine):
    from shared.warehouses.server.warehouse import ServerWarehouse

    return ServerWarehouse(engine)


@pytest.mark.parametrize("code", [0, 10054, 40197])
def test_commit_whose_answer_was_lost_is_recognised(case, server, code):
    """The second try finds the run done: no row is counted, or written, twice."""
    file = case.write("full", 5, [row(1, "Ada", 1), row(2, "Bob", 2)])
    case.loaded("full", 4, row(1, "Ada", 0.5), table="other")  # schemas and tables are there
    server.fail_next("INSERT INTO .*ingest.*run.*", 1205)  # one deadlock before, for good measure
    lost = _lose_commit_of_merge(server, code)

    run = case.load(file).run

    assert lost
    assert (None, {"inserted": 2, "read": 2}) == (run.error, some(run))
    assert [("Ada",), ("Bob",)] == case.rows("Name")
    assert [(1,)] == server.query(f"SELECT COUNT(*) FROM [ingest].[run] WHERE [id] = '{run.id}'")


def _lose_commit_of_merge(server, code):
    """Fail the first COMMIT that follows a run's line of history, after it took effect."""
    note, lost = server._note, []

    def watched(text):
        if not lost and "INSERT INTO [ingest].[run]" in text:
            lost.append(text)
            server.fail_next("^COMMIT TRANSACTION", code, after=True)
        note(text)

    server._note = watched
    return lost


# -- the lock on a table


@pytest.mark.parametrize(
    ("result", "kind", "words", "tries"),
    [
        (-1, TransientError, "another session has held shop.item", 1),
        (-2, TransientError, r"not granted \(-2\)", 5),
        (-3, TransientError, r"not granted \(-3\)", 5),
        (-999, ConfigError, r"could not be requested \(-999\)", 1),
    ],
)
def test_lock_that_is_not_granted_is_reported(engine, server, result, kind, words, tries):
    """Who waited long enough does not wait again; who was chosen as a victim does."""
    server.applock_result = result

    with pytest.raises(kind, match=words):
        engine.units.run(lambda session: engine.lock(session, "shop.item"))
    assert tries == sum("sp_getapplock" in text for text in server.statements)


@pytest.mark.parametrize("result", [0, 1])
def test_lock_may_be_granted_after_waiting(engine, server, result):
    """At once or later: both are success."""
    server.applock_result = result

    assert "done" == engine.units.run(lambda session: engine.lock(session, "shop.item") or "done")


def test_lock_keeps_others_out_until_the_commit(engine, server):
    """A second loader waits for as long as it may, and says which setting that was."""
    first = engine.units.transaction()
    engine.lock(first.__enter__(), "shop.item")

    with pytest.raises(TransientError, match=r"shop.item for 0.2 s.*WAREHOUSE_LOCK_TIMEOUT"):
        engine.units.run(lambda session: engine.lock(session, "shop.item"))
    engine.units.run(lambda session: engine.lock(session, "shop.ITEM"))
    first.__exit__(None, None, None)

    engine.units.run(lambda session: engine.lock(session, "shop.item"))


def test_lock_has_the_transaction_for_its_owner(engine, server):
    """It ends with it, also where the connection is lost, and never outlives it in a pool."""
    engine.units.run(lambda session: engine.lock(session, "shop.it's"))

    (wanted,) = [text for text in server.statements if "sp_getapplock" in text]
    assert "@LockOwner = N'Transaction'" in wanted
    assert "@Resource = N'sluice:shop.it''s'" in wanted
    assert "@LockTimeout = 200" in wanted


def test_settings_of_a_transaction_are_said_each_time(engine, server):
    """A pooled connection forgets them, and XACT_ABORT is what ends half a transaction."""
    engine.units.run(lambda session: session.first("SELECT 1"))

    assert [tsql.begin(0.2), "SELECT 1", tsql.COMMIT] == server.statements
    assert "SET XACT_ABORT ON; SET LOCK_TIMEOUT 200; BEGIN TRANSACTION" == tsql.begin(0.2)


def test_every_error_of_a_load_is_ours(case, server):
    """Whatever goes wrong on the way, the run is recorded as failed with one line."""
    server.fail_next("CREATE TABLE .staging", 40552)

    reported = case.refused("full", 5, row(1))

    assert "Scale the database up" in reported
    assert issubclass(ConfigError, IngestError)


@pytest.mark.parametrize(
    ("message", "state", "is_value"),
    [("Numeric overflow", "HY000", True), ("String data, right truncation: length 12 buffer 10", "22001", True),
     ("Attempt to use a closed connection.", "HY000", False)],
)  # fmt: skip
def test_pyodbcs_own_errors_are_read_in_their_own_order(message, state, is_value):
    """It raises them before the server is asked, with the message first."""
    error = errors.ProgrammingError(message, state)

    assert is_value == is_data_fault(error)
    assert message.rstrip(".") in in_words(error, "Azure SQL").problem


def test_value_that_pyodbc_refuses_costs_its_row_alone(server, monkeypatch):
    """As one that the server refuses does."""
    engine, table = engine_of(server), staging({"Exact": "integer"})
    bind = stand_in.bulk.arrow

    def refusing(columns, rows, sizes, blind):
        if any(row[1] == 7 for row in rows):
            raise errors.ProgrammingError("Numeric overflow", "HY000")
        return bind(columns, rows, sizes, blind)

    monkeypatch.setattr(stand_in.bulk, "arrow", refusing)

    loaded = filled(engine, "array", table, batch({"Exact": "integer"}, *[(n,) for n in range(20)]))

    assert (19, ["Azure SQL: Numeric overflow"]) == (loaded.rows, [one.reason for one in loaded.refused])


LOGIN_TIMEOUT = "[{0}] [Microsoft][ODBC Driver 18 for SQL Server]Login timeout expired ({1}) (SQLDriverConnect)"


@pytest.mark.parametrize(("state", "number"), [("HYT00", 0), ("08001", 0), ("08001", 11001)])
def test_address_without_an_answer_is_tried_twice_and_named(server, state, number):
    """Nobody waits for five tries of half a minute each to learn that a port is wrong."""
    tried = unanswered(server, state, number)
    engine = engine_of(server)

    with pytest.raises(TransientError, match=r"no answer from db\.test, port 1433: Login timeout expired") as caught:
        engine.units.run(lambda session: session.first("SELECT 1"))

    assert 2 == len(tried)
    assert all(word in caught.value.fix for word in ("WAREHOUSE_URL", "firewall"))
    assert "hunter2" not in str(caught.value)


def test_address_that_has_answered_before_is_tried_five_times(server):
    """A server that is being replaced comes back."""
    engine = engine_of(server)
    engine.units.run(lambda session: session.first("SELECT 1"))
    engine.units.close_idle()
    tried = unanswered(server, "HYT00", 0)

    with pytest.raises(TransientError, match=r"no answer from db\.test"):
        engine.units.run(lambda session: session.first("SELECT 1"))

    assert 5 == len(tried)


def test_unknown_database_is_tried_once(server, opened):
    """Its name does not become right by waiting."""
    server.fail_next("CONNECT", 4060, times=9)

    with pytest.raises(ConfigError, match="4060"):
        engine_of(server).units.run(lambda session: session.first("SELECT 1"))

    assert 1 == len(opened.connections)


def unanswered(server, state, number):
    """Let nobody connect from here on; one entry for each that tries."""
    tried = []

    def connect(*_, **__):
        tried.append(1)
        raise errors.OperationalError(state, LOGIN_TIMEOUT.format(state, number))

    server.connect = connect
    return tried
