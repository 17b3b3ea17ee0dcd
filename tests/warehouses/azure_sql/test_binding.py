"""Real pyodbc binds the ends of every type; PostgreSQL stores them. The T-SQL stand-in does not bind."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pytest

from tests.servers import odbc, psqlodbc

SENT = """
import datetime as dt, pyarrow as pa, pyodbc
from decimal import Decimal
from shared.mssql import errors
from shared.warehouses.azure_sql import arrays
connection = pyodbc.connect({connection!r}, autocommit=True)
def sent(kind, values, stored):
    cursor = connection.cursor()
    cursor.execute("DROP TABLE IF EXISTS t; CREATE TABLE t (n serial, v " + stored + ")")
    batch = pa.record_batch([pa.array(values, kind)], names=["v"])
    try:
        arrays.execute_many(connection.cursor(), "INSERT INTO t (v) VALUES (?)", batch)
    except pyodbc.Error as error:
        return [str(error.args), errors.is_data_fault(error), str(errors.in_words(error, "x"))]
    back = [row[0] for row in connection.cursor().execute("SELECT v FROM t ORDER BY n").fetchall()]
    return "as sent" if pa.array(back, kind).equals(batch.column(0)) else [str(values), str(back)]
def ends(digits, scale):
    with decimal.localcontext(decimal.Context(prec=76)):
        largest = Decimal(10**digits - 1).scaleb(-scale)
        return [largest, Decimal(0).scaleb(-scale), -largest, Decimal(1).scaleb(-scale), None]
import decimal
print(json.dumps({code}))
"""


@pytest.fixture
def bound(postgres):
    """What came of sending values, as an expression of the child process says."""
    libraries, driver = psqlodbc.libraries()
    url = urlsplit(postgres.url())
    password = unquote(url.password or "").replace("}", "}}")
    connection = (
        f"Driver={driver};Server={url.hostname};Port={url.port};Database=postgres;UID={url.username};PWD={{{password}}}"
    )

    def run(code):
        return odbc.run(libraries, SENT.format(connection=connection, code=code))

    return run


def test_ends_of_decimals_arrive(bound):
    """Largest, smallest, zero and NULL; with 38 places a zero would be one digit too long for pyodbc."""
    kinds = [(38, 38), (38, 37), (38, 10), (38, 0), (18, 18), (9, 2), (1, 1), (1, 0)]

    found = bound(f"[sent(pa.decimal128(*k), ends(*k), 'numeric(%s,%s)' % k) for k in {kinds}]")

    assert ["as sent"] * len(kinds) == found


def test_ends_of_other_types_arrive(bound):
    """Years 1 and 9999, days that one calendar lacks, the last and the least float, texts.

    No text over 4,000: psqlodbc crashes where pyodbc sends those in pieces.
    """
    cases = [
        "pa.int64(), [2**63 - 1, -2**63, 0, None], 'bigint'", "pa.int32(), [2**31 - 1, -2**31, 0, None], 'int'",
        "pa.int16(), [2**15 - 1, -2**15, 0, None], 'smallint'",
        "pa.float64(), [1.7976931348623157e308, 5e-324, -0.0, 0.1, None], 'double precision'",
        "pa.float32(), [3.4028234663852886e38, 1e-45, -1.0, None], 'real'",
        "pa.date32(), [dt.date.min, dt.date.max, dt.date(1582, 10, 10), dt.date(1752, 9, 5), None], 'date'",
        "pa.timestamp('us'), [dt.datetime.min, dt.datetime.max, dt.datetime(1752, 9, 5, 1, 2, 3, 1)], 'timestamp'",
        "pa.string(), ['', ' x ', 'x' * 4000, '\U0001f511' * 2000, None], 'text'",
    ]  # fmt: skip

    found = bound(f"[{', '.join(f'sent({case})' for case in cases)}]")

    assert dict.fromkeys(cases, "as sent") == dict(zip(cases, found, strict=True))


def test_refusal_of_pyodbc_itself_is_a_fault_of_the_value(bound):
    """It is raised before the server is asked, with message and state in the other order."""
    code = "sent(pa.decimal128(38, 10), [1], 'numeric(38,10)')"
    refusing = "setattr(arrays, '_input_size', lambda _: (3, 5, 38)) or setattr(arrays, '_MOST_DIGITS', 99)"

    _, (arguments, is_data_fault, words) = bound(f"[{refusing}, {code.replace('[1]', '[10**20]')}]")

    assert arguments.endswith("'HY000')")
    assert is_data_fault
    assert words.startswith("x: N"), words
