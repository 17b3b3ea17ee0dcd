"""One connection to the stand-in: its transaction, its variables, and what each kind of statement does."""

from __future__ import annotations

import contextlib
import datetime as dt
import re

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from tests.standins.tsql import bulk, catalog, ddl, errors, parser, script, translate
from tests.standins.tsql.catalog import Table
from tests.standins.tsql.cursor import Cursor
from tests.standins.tsql.facts import Facts
from tests.standins.tsql.rewrite import World
from tests.standins.tsql.script import If, Node, Tokens
from tests.standins.tsql.values import constant

_MOST_PARAMETERS = 2_100
_LOST = frozenset([0, 10053, 10054, 40143, 40197, 40613])
"""Numbers after which the connection is gone."""

_HARMLESS = frozenset([0, 102, 8003])
"""Numbers that leave the transaction alone even under XACT_ABORT ON: nothing ran. 0 is the driver's own."""


@dataclass
class Result:
    rows: list[tuple[Any, ...]] | None = None
    description: list[tuple[Any, ...]] | None = None
    rowcount: int = -1
    error: errors.Error | None = None


class Connection:
    """One session of a server (tests.standins.tsql.engine)."""

    def __init__(self, server: Any, duck: duckdb.DuckDBPyConnection, autocommit: bool) -> None:
        self.timeout = 0
        self.closed = False
        self._server, self._duck, self._autocommit = server, duck, autocommit
        self._count = 0  # @@TRANCOUNT
        self._begun = self._wrote = self._broken = False
        self._nocount = False
        self._lock_timeout = -1
        self._rowcount = 0
        self._version = 0
        self._changed = False  # by DDL
        self._known: dict[tuple[str, str, int], Table | None] = {}
        self._variables: dict[str, str] = {}
        self._batch = ""
        self._messages: list[tuple[str, str]] = []
        self._facts = Facts(server, duck, table=self._table, transactions=lambda: self._count)

    # -- what pyodbc has

    @property
    def autocommit(self) -> bool:
        return self._autocommit

    @autocommit.setter
    def autocommit(self, value: bool) -> None:
        if value and not self._autocommit:
            self.commit()
        self._autocommit = value

    def cursor(self) -> Cursor:
        self._check()
        return Cursor(self)

    def execute(self, sql: str, *parameters: Any) -> Cursor:
        return self.cursor().execute(sql, *parameters)

    def commit(self) -> None:
        self._check()
        with self._failing(), self._server.faults("COMMIT"):
            if not self._autocommit:  # with autocommit on, the driver sends nothing
                self._commit()

    def rollback(self) -> None:
        self._check()
        with self._failing(), self._server.faults("ROLLBACK"):
            if not self._autocommit:
                self._rollback()

    def close(self) -> None:
        if self.closed:
            raise errors.ProgrammingError("Attempt to use a closed connection.")
        self._end()

    def set_attr(self, *_: Any) -> None:
        """Connection attributes mean nothing here."""

    def setdecoding(self, *_: Any, **__: Any) -> None:
        """Text comes out as it should."""

    def add_output_converter(self, *_: Any) -> None:
        """Types come out as they should."""

    def getinfo(self, _: int) -> str:
        return "Microsoft SQL Server"

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and not self._autocommit:
            self.commit()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            if not self.closed:
                self._end()

    def _end(self) -> None:
        if not self._broken:
            self._rollback()
        self._server.locks.end(self, "Session", "Transaction")
        self.closed = True
        self._duck.close()
        with self._server._guard:
            self._server.open_connections -= 1

    def _check(self) -> None:
        if self.closed:
            raise errors.ProgrammingError("Attempt to use a closed connection.")
        if self._broken:
            raise errors.of_driver("08S01", "Communication link failure (0) (SQLExecDirectW)")

    # -- transactions

    def _begin(self) -> None:
        """Make sure DuckDB is in a transaction, that sees what is committed now unless it has written."""
        if self._begun and not self._wrote:
            self._duck.execute("ROLLBACK")
            self._begun = False
        if not self._begun:
            self._version = self._server.version
            self._duck.execute("BEGIN")
            self._begun, self._wrote = True, False

    def _commit(self) -> None:
        self._count = max(0, self._count - 1)
        if self._count == 0:
            self._finish("COMMIT")

    def _rollback(self) -> None:
        self._count = 0
        self._finish("ROLLBACK")

    def _finish(self, how: str) -> None:
        try:
            if self._begun:
                self._duck.execute(how)
                if self._wrote and how == "COMMIT":
                    self._server.tracking.committed(self._duck)
        finally:
            if self._changed:
                self._version = self._server.newer()
            self._begun = self._wrote = self._changed = False
            self._server.locks.end(self, "Transaction")

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        """What an error does to transaction and connection."""
        try:
            yield
        except errors.Error as error:
            self._doom(error)
            raise
        except duckdb.Error as error:
            known = errors.from_duckdb(error)
            self._doom(known or error)
            if known is None:
                raise NotImplementedError(f"the stand-in cannot run this: {error}") from error
            raise known from error
        except BaseException as error:
            self._doom(error)
            raise

    def _doom(self, error: BaseException) -> None:
        number = errors.number_of(error) if isinstance(error, errors.Error) and len(error.args) > 1 else -1
        lost = isinstance(error, errors.Error) and (number in _LOST or str(error.args[0]) == "08S01")
        if not lost and number in _HARMLESS:
            return
        with contextlib.suppress(duckdb.Error):
            self._rollback()
        if lost:
            self._broken = True
            self._server.locks.end(self, "Session", "Transaction")

    # -- running a batch

    def run(self, sql: str, parameters: Sequence[Any]) -> list[Result]:
        """The results of a batch up to its end or first error, which is the last of them then."""
        self._check()
        self._server._note(sql)
        if len(parameters) > _MOST_PARAMETERS:
            raise errors.raised(
                8003, "The incoming request has too many parameters. The server supports a maximum of 2100 parameters. "
                "Reduce the number of parameters and resend the request.",
            )  # fmt: skip
        results: list[Result] = []
        self._batch, begun = sql, self._count
        try:
            with self._failing(), self._server.faults(sql):
                _check_syntax(sql)
                nodes = script.statements(sql)
                self._variables = {f"@_p{n}": constant(_sent(value)) for n, value in enumerate(parameters)}
                _check_parameters(sql, parameters)
                for node in nodes:
                    self._node(node, results)
                if parameters and self._autocommit and self._count != begun:  # it runs as a procedure then
                    raise errors.raised(
                        266, "Transaction count after EXECUTE indicates a mismatching number of BEGIN and COMMIT "
                        f"statements. Previous count = {begun}, current count = {self._count}.",
                    )  # fmt: skip
        except errors.Error as error:
            if not results:
                raise
            results.append(Result(error=error))
        return results

    def run_many(self, sql: str, rows: Sequence[Sequence[Any]], sizes: Sequence[Any] | None) -> bool:
        """Insert *rows* at once as fast_executemany does; False if the statement is not of that kind."""
        if not rows:
            return True
        self._check()
        given = translate.insert_of_parameters(script.tokens(sql), self._world())
        if given is None:
            return False
        table, names = given
        _check_syntax(sql)
        source = bulk.arrow([table.column(name) for name in names], rows, sizes, table.name.startswith("#"))
        self._server._note(sql)
        with self._failing(), self._server.faults(sql), self._statement(writes=True):
            bulk.run_with(self._duck, source, translate.insert_from(table, names, "_rows"))
            ddl.check_keys(self._duck, table)
        return True

    def _node(self, node: Node, results: list[Result]) -> None:
        if isinstance(node, If):
            with self._statement(writes=False, begins=False):
                holds = self._duck.execute(translate.condition(node.condition, self._world())).fetchall()[0][0]
            for inner in node.then if holds else node.otherwise:
                self._node(inner, results)
        elif isinstance(node, list):
            for inner in node:
                self._node(inner, results)
        else:
            result = self._one(node)
            if result is not None:
                results.append(result)

    def _one(self, of: Tokens) -> Result | None:  # noqa: C901, PLR0911 - one line a kind of statement
        first, second = of[0].word, of[1].word if len(of) > 1 else ""
        if first == "SET":
            return self._set(of)
        if first == "DECLARE":
            return self._declare(of)
        if first in ("EXEC", "EXECUTE"):
            return self._exec(of)
        if first in ("BEGIN", "COMMIT", "ROLLBACK"):
            return self._transaction(first)
        if first == "PRINT":
            self._messages.append(("[01000] (0)", self._value(of[1:])))
            return None
        if first in ("RAISERROR", "THROW"):
            return self._throw(of)
        if first in ("SELECT", "WITH"):
            return self._select(of)
        if first in ("INSERT", "UPDATE", "DELETE"):
            return self._change(of)
        if first == "BULK":
            return self._bulk_insert(of)
        if (first, second) in (("UPDATE", "STATISTICS"), ("ALTER", "DATABASE")):
            return None
        if (first, of[-1].word) == ("ALTER", "CHANGE_TRACKING"):
            return self._track(of)
        if first in ("GRANT", "REVOKE", "DENY") or second in ("USER", "ROLE", "MASTER", "DATABASE", "EXTERNAL"):
            return self._administer(of)
        with self._ddl() as change:
            change.run(of)
        return None

    def _track(self, of: Tokens) -> None:
        schema, name, _ = translate.name_of(of, 2)
        table = self._table(schema, name)
        assert table is not None, name
        self._server.tracking.enable(self._duck, table)

    @contextlib.contextmanager
    def _ddl(self) -> Iterator[ddl.Ddl]:
        with self._statement(writes=True):
            self._changed = True
            yield ddl.Ddl(self._duck, self._world(), self._server.now().isoformat(" "), self._batch)
            self._version = self._server.newer()

    @contextlib.contextmanager
    def _statement(self, *, writes: bool, begins: bool = True) -> Iterator[None]:
        """One statement, in the transaction it belongs to; *begins* one where autocommit is off."""
        if begins and not self._autocommit and self._count == 0:
            self._count = 1
        self._begin()
        self._wrote = self._wrote or writes
        yield
        if self._count == 0:
            self._finish("COMMIT")

    # -- statements

    def _set(self, of: Tokens) -> None:
        name = of[1].word
        if name.startswith("@"):
            self._variables[name.lower()] = self._constant(of[3:])
        elif name == "NOCOUNT":
            self._nocount = of[2].word == "ON"
        elif name == "LOCK_TIMEOUT":
            self._lock_timeout = int("".join(token.text for token in of[2:]))
        elif name not in _SETTINGS:
            raise NotImplementedError(f"the stand-in does not imitate {script.text(of)}")

    def _declare(self, of: Tokens) -> None:
        for part in script.split(of[1:], ","):
            sign = next((n for n, token in enumerate(part) if token.text == "="), None)
            self._variables[part[0].text.lower()] = "NULL" if sign is None else self._constant(part[sign + 1 :])

    def _transaction(self, first: str) -> None:
        if first == "BEGIN":
            # With autocommit off, BEGIN TRAN comes second to the transaction that the driver begins.
            self._count += 1 if self._autocommit or self._count else 2
            return
        if self._count == 0:
            number = 3902 if first == "COMMIT" else 3903
            raise errors.raised(number, f"The {first} TRANSACTION request has no corresponding BEGIN TRANSACTION.")
        if first == "COMMIT":
            self._commit()
        else:
            self._rollback()

    def _throw(self, of: Tokens) -> None:
        parts = script.split(of[1:], ",") if of[0].word == "THROW" else script.split(of[2:-1], ",")
        if of[0].word == "THROW":
            raise errors.raised(int(parts[0][0].text), self._value(parts[1]))
        raise errors.raised(50000, self._value(parts[0]))

    def _select(self, of: Tokens) -> Result | None:
        if of[0].word == "SELECT" and of[1].text.startswith("@") and len(of) > 2 and of[2].text == "=":
            self._variables[of[1].text.lower()] = self._constant(of[3:])
            return None
        of = self._server.tracking.read(of)
        touches = any(token.word == "FROM" for token in of)
        into = any(token.word == "INTO" for token in of)
        with self._statement(writes=into, begins=touches):
            found = self._duck.execute(translate.query(of, self._world()))
            rows = found.fetchall()
            described = [(column[0], *_described(str(column[1])), True) for column in found.description]
        if into:
            self._changed, self._version = True, self._server.newer()
            self._rowcount = int(rows[0][0]) if rows else 0
            return None if self._nocount else Result(rowcount=self._rowcount)
        self._rowcount = len(rows)
        return Result(rows=rows, description=described)

    def _change(self, of: Tokens) -> Result | None:
        with self._statement(writes=True):
            build = {"INSERT": translate.insert, "UPDATE": translate.update, "DELETE": translate.delete}[of[0].word]
            sql, table = build(of, self._world())
            found = self._duck.execute(sql)
            rows = found.fetchall()
            returning = any(token.word == "OUTPUT" for token in of)
            described = [(column[0], *_described(str(column[1])), True) for column in found.description]
            if of[0].word != "DELETE":
                ddl.check_keys(self._duck, table)
        self._rowcount = len(rows) if returning else int(rows[0][0])
        if returning:
            return Result(rows=rows, description=described)
        return None if self._nocount else Result(rowcount=self._rowcount)

    def _bulk_insert(self, of: Tokens) -> Result | None:
        with self._statement(writes=True):
            order = bulk.order(of)
            table = self._table(order.schema, order.table)
            if table is None:
                raise errors.raised(4701, f'Cannot find the object "{order.table}" because it does not exist or you do '
                                    "not have permissions.")  # fmt: skip
            self._rowcount = bulk.load(self._duck, table, order, self._server.blobs, self._server.external_data_sources)
            ddl.check_keys(self._duck, table)
        return None if self._nocount else Result(rowcount=self._rowcount)

    def _administer(self, of: Tokens) -> None:
        """Users and rights mean nothing here; credentials and data sources are kept."""
        words = [token.word for token in of]
        kinds = {"EXTERNAL": self._server.external_data_sources, "DATABASE": self._server.database_scoped_credentials}
        kept = kinds.get(words[1])
        if words[:3] == ["CREATE", "MASTER", "KEY"]:
            self._server.symmetric_keys.append({"name": "##MS_DatabaseMasterKey##"})
        if words[0] in ("GRANT", "REVOKE", "DENY") or kept is None:
            return
        name = of[4].value
        there = next((known for known in kept if str(known["name"]).lower() == name.lower()), None)
        if words[0] == "CREATE" and there is not None:
            raise errors.raised(15530 if words[1] == "DATABASE" else 46502, f"'{name}' already exists.")
        if words[0] != "CREATE" and there is None:
            raise errors.raised(15151, f"Cannot {words[0].lower()} the object '{name}', because it does not exist or "
                                "you do not have permission.")  # fmt: skip
        given = {token.word: of[n + 2].value for n, token in enumerate(of[:-2]) if of[n + 1].text == "="}
        if there is not None:
            kept.remove(there)
        if words[0] == "DROP":
            return
        if words[1] == "DATABASE":
            kept.append({"name": name, "credential_identity": given.get("IDENTITY", "")})
            return
        kept.append({"name": name, "location": given.get("LOCATION", ""), "type_desc": given.get("TYPE", "")})

    # -- procedures

    def _exec(self, of: Tokens) -> Result | None:
        if of[1].text == "(":
            return self._exec_text(self._value(of[2:-1]))
        result, place = None, 1
        if of[1].text.startswith("@"):
            result, place = of[1].text.lower(), 3
        _, name, place = translate.name_of(of, place)
        arguments = [part for part in script.split(of[place:], ",") if part]
        named = dict(self._argument(n, argument) for n, argument in enumerate(arguments))
        if name.lower() == "sp_executesql":
            return self._exec_text(named.get("0") or named["@stmt"])
        answer = self._procedure(name.lower(), named)
        if result is not None:
            self._variables[result] = str(answer)
        return None

    def _argument(self, place: int, of: Tokens) -> tuple[str, str]:
        """Name and value, or place and value."""
        if len(of) > 2 and of[1].text == "=":
            return of[0].word.lower(), self._value(of[2:])
        return str(place), self._value(of)

    def _exec_text(self, sql: str) -> Result | None:
        _check_syntax(sql)
        results: list[Result] = []
        for node in script.statements(sql):
            self._node(node, results)
        return results[0] if results else None

    def _procedure(self, name: str, given: Mapping[str, str]) -> int:
        if name == "sp_getapplock":
            return self._take_lock(given)
        if name == "sp_releaseapplock":
            owner = given.get("@lockowner", given.get("1", "Transaction"))
            return self._server.locks.release(given.get("@resource", given.get("0", "")), (self, owner))
        if name == "sp_rename":
            old, new = given.get("@objname", given.get("0", "")), given.get("@newname", given.get("1", ""))
            what = given.get("@objtype", given.get("2", "OBJECT")).upper()
            with self._ddl() as change:
                change.rename(old, new, what)
            return 0
        if name in ("sp_refreshview", "sp_updatestats"):
            return 0
        raise errors.raised(2812, f"Could not find stored procedure '{name}'.")

    def _take_lock(self, given: Mapping[str, str]) -> int:
        resource, mode = given.get("@resource", given.get("0")), given.get("@lockmode", given.get("1"))
        owner = given.get("@lockowner", given.get("2", "Transaction")).title()
        waits = int(given.get("@locktimeout", given.get("3", self._lock_timeout)))
        if resource is None or str(mode).title() not in ("Exclusive", "Shared", "Update"):
            return -999
        if self._server.applock_result is not None:
            return self._server.applock_result
        if owner == "Transaction" and self._count == 0:
            return -999  # there is no transaction to own it
        seconds = None if waits < 0 else waits / 1_000
        return self._server.locks.take(resource[:255], (self, owner), str(mode).title(), seconds)

    # -- what statements ask of the session

    def _world(self) -> World:
        session = {
            "@@rowcount": str(self._rowcount), "@@trancount": str(self._count), "@@spid": "51",
            "@@lock_timeout": str(self._lock_timeout), "@@version": "'Microsoft SQL Azure (RTM) - 12.0.2000.8'",
            "@@servername": "'test'", "@@error": "0",
        }  # fmt: skip
        return World(
            variables={**session, **self._variables},
            table=self._table,
            function=self._facts.function,
            view=self._facts.view,
        )

    def _table(self, schema: str, name: str) -> Table | None:
        """As it is now; asked again only if there was DDL since."""
        place = (schema.lower(), name.lower(), self._version)
        if place not in self._known:
            self._known[place] = catalog.look_up(self._duck, schema, name)
        return self._known[place]

    def _constant(self, of: Tokens) -> str:
        """The value of an expression, as DuckDB text."""
        with self._statement(writes=False, begins=any(token.word == "FROM" for token in of)):
            found = self._duck.execute("SELECT " + translate.expression(of, self._world())).fetchall()
        return constant(found[0][0])

    def _value(self, of: Tokens) -> str:
        """An argument as text; a bare word stands for itself, as in procedure calls."""
        if len(of) == 1 and of[0].kind in ("string", "name"):
            return of[0].value
        if len(of) == 1 and of[0].kind in ("word", "number") and not of[0].text.startswith("@"):
            return of[0].text
        with self._statement(writes=False, begins=False):
            found = self._duck.execute("SELECT " + translate.expression(of, self._world())).fetchall()
        return str(found[0][0])


_SETTINGS = {
    "ANSI_NULLS", "ANSI_PADDING", "ANSI_WARNINGS", "ARITHABORT", "CONCAT_NULL_YIELDS_NULL", "DATEFORMAT",
    "DEADLOCK_PRIORITY", "IMPLICIT_TRANSACTIONS", "LANGUAGE", "NUMERIC_ROUNDABORT", "QUOTED_IDENTIFIER", "TRANSACTION",
    "XACT_ABORT",
}  # fmt: skip


def _check_syntax(sql: str) -> None:
    if parser.unavailable() is not None:
        return
    # Runs have ids of 16 hexadecimal digits. Without them the same texts come again and again, and are known.
    for problem in parser.problems(re.sub(r"[0-9a-f]{16}", "0" * 16, sql)):
        raise errors.raised(102, f"{problem.message} (line {problem.line}, column {problem.column})")


def _check_parameters(sql: str, given: Sequence[Any]) -> None:
    wanted = parser.with_variables(sql).count("@") - sql.count("@") if "?" in sql else 0
    if wanted != len(given):
        raise (
            errors.of_driver(
                "07002", f"The SQL contains {wanted} parameter markers, but {len(given)} parameters were supplied"
            )
            if wanted < len(given)
            else errors.of_driver("07002", "COUNT field incorrect or syntax error (0) (SQLExecDirectW)")
        )


def _sent(value: Any) -> Any:
    """As pyodbc sends it one by one: a time loses its fraction of a second."""
    return value.replace(microsecond=0) if isinstance(value, dt.time) else value


def _described(kind: str) -> tuple[Any, ...]:
    """Type, display size, internal size, precision and scale."""
    known: Mapping[str, type] = {
        "STRING": str, "VARCHAR": str, "BOOLEAN": bool, "bool": bool, "BLOB": bytes, "DOUBLE": float, "FLOAT": float,
        "TIMESTAMP": dt.datetime, "DATE": dt.date, "TIME": dt.time,
    }  # fmt: skip
    return known.get(kind, int), None, 0, 0, 0
