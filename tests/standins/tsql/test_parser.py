"""Microsoft's T-SQL parser says what is valid, and where what is not goes wrong."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.standins.tsql import parser


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT TOP (1) [a] FROM [s].[t] AS t WITH (HOLDLOCK) WHERE EXISTS (SELECT t.a INTERSECT SELECT 1)",
        "DECLARE @r int; EXEC @r = sp_getapplock @Resource = N'x', @LockMode = N'Exclusive'; SELECT @r",
        "INSERT INTO #t ([a], [b]) VALUES (?, ?), (?, N'?')",
        "SELECT a FROM t ORDER BY a OFFSET ? ROWS FETCH NEXT ? ROWS ONLY",
        "BULK INSERT [s].[t] FROM N'a.csv' WITH (DATA_SOURCE = N'd', FORMAT = 'CSV', CODEPAGE = 65001, MAXERRORS = 0)",
    ],
)
def test_valid_texts_have_no_problems(tsql_problems, sql):
    """Question marks are parameters, as in ODBC."""
    assert [] == tsql_problems(sql)


@pytest.mark.parametrize(
    ("sql", "column", "message"),
    [
        ("SELECT a > b AS x FROM t", 8, "Incorrect syntax near a."),
        ("SELECT a FROM t WHERE flag", 23, "Incorrect syntax near flag."),
        ("SELECT a FROM t WHERE a = ? AND", 32, "Unexpected end of file"),
        ("SELECT a FROM t LIMIT 1", 17, "Incorrect syntax near LIMIT."),
        ("SELECT a FROM t WHERE a IS DISTINCT FROM ?", 28, "Incorrect syntax near DISTINCT"),
        ("SELEC 1", 1, "SELEC is no statement."),
        ("CREATE TABLE IF NOT EXISTS t (a int)", 14, "Incorrect syntax near"),
    ],
)
def test_what_sql_server_does_not_know_is_reported_with_its_place(tsql_problems, sql, column, message):
    """A comparison is no value, a bit is no condition, and PostgreSQL's words are not SQL Server's."""
    found = tsql_problems(sql)

    assert 1 == found[0].line
    assert (column, True) == (found[0].column, found[0].message.startswith(message)), found


def test_a_code_page_in_quotes_is_unknown_to_the_grammar_of_2019(tsql_problems):
    """Microsoft's own page writes it so, and the number without quotes is taken everywhere."""
    assert tsql_problems("BULK INSERT t FROM 'a' WITH (CODEPAGE = '65001')")


def test_what_was_found_is_kept_for_later_processes(tsql_problems, tmp_path, monkeypatch):
    """The parser itself is asked once for each text."""
    monkeypatch.setattr(parser, "_found", lambda: tmp_path)
    requested = []
    monkeypatch.setattr(
        parser, "_query", lambda question, query=parser._query: requested.append(question) or query(question)
    )

    found = [parser._answer(sql) for sql in ("SELECT 1", "SELEC 1", "SELECT 1", "SELEC 1")]

    assert [[], [[1, 1, "SELEC is no statement."]]] * 2 == found
    assert ["SELECT 1", "SELEC 1"] == requested


def test_batches_are_fine_only_if_each_is(tsql_problems):
    """One wrong text is enough."""
    assert parser.batches_ok("SELECT 1", "SELECT ?")
    assert not parser.batches_ok("SELECT 1", "SELEC 1")


def test_texts_of_any_characters_reach_the_parser(tsql_problems):
    """They travel to another process line by line."""
    assert [] == tsql_problems("SELECT N'Zürich\n☕ 😀\u2028' AS [näme\t]")


def test_question_marks_in_strings_names_and_comments_stay():
    """Only a parameter becomes a variable, and every column stays where it was."""
    sql = """SELECT ?, N'it''s ?', [a]]?], "q?" /* ? */ -- ?\n, ?"""

    assert sql.replace("SELECT ?", "SELECT @").replace(", ?", ", @") == parser.with_variables(sql)


def test_the_process_that_requested_ends_in_silence(tsql_problems):
    """Next to Arrow and DuckDB, with warnings as errors, and without a child left behind."""
    code = (
        "import duckdb, pyarrow; from tests.standins.tsql import parser;"
        "print(parser.problems('SELECT 1'), len(parser.problems('SELEC 1')), parser._child().pid)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = done.stdout.split()

    assert (0, "") == (done.returncode, done.stderr)
    assert ["[]", "1"] == said[:2]
    with pytest.raises(ProcessLookupError):
        _signal(int(said[2]))


def _signal(process: int) -> None:
    import os

    os.kill(process, 0)


def test_a_missing_package_is_named(monkeypatch):
    """So that a skipped test says what to install."""
    monkeypatch.setattr(parser, "find_spec", lambda package: None if package == "pythonnet" else object())

    assert "T-SQL cannot be parsed: pythonnet not installed (see requirements-tsql.txt)" == (
        parser.unavailable.__wrapped__()
    )
