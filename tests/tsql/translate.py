"""T-SQL queries and DML in DuckDB's words, with SQL Server's idea of when two texts are equal.

Every comparison, GROUP BY, DISTINCT, PARTITION BY and set operation goes over _k(), which takes trailing blanks from
text; case is left to DuckDB's collations, which columns have by their declared ones. What is stored goes over _fit(),
which refuses text that is too long.
"""

from __future__ import annotations

import datetime as dt
import functools
import math
import uuid

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import sqlglot

from sqlglot import exp

from tests.tsql import catalog, errors
from tests.tsql.catalog import Table, quoted
from tests.tsql.script import Token, Tokens, closing, split, text, without_hints


def constant(value: object) -> str:
    """A Python value as DuckDB text, with the type ODBC would send."""
    match value:
        case None:
            return "NULL"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            if not math.isfinite(value):
                raise errors.raised(
                    8023,
                    "The incoming tabular data stream (TDS) remote procedure call (RPC) protocol stream is incorrect. "
                    "Parameter 3: The supplied value is not a valid instance of data type float. Check the source "
                    "data for invalid values. An example of an invalid value is data of numeric type with scale "
                    "greater than precision.",
                )
            return f"CAST('{value!r}' AS DOUBLE)"
        case Decimal():
            return _decimal(value)
        case str():
            pieces = (catalog.literal(piece) for piece in value.split("\0"))
            return "(" + " || chr(0) || ".join(pieces) + ")" if "\0" in value else catalog.literal(value)
        case bytes() | bytearray():
            return f"unhex('{value.hex()}')"
        case dt.datetime():
            return f"TIMESTAMP '{value.replace(tzinfo=None).isoformat(' ')}'"  # pyodbc drops the zone
        case dt.date():
            return f"DATE '{value.isoformat()}'"
        case dt.time():
            return f"TIME '{value.replace(tzinfo=None).isoformat()}'"
        case uuid.UUID():
            return f"CAST('{value}' AS UUID)"
    raise errors.of_driver(
        "HY105", f"Invalid parameter type.  param-type={type(value).__name__} (0) (SQLBindParameter)"
    )


def _decimal(value: Decimal) -> str:
    _, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    scale = max(0, -exponent)
    precision = max(len(digits) + max(0, exponent), scale, 1)
    if precision > 38:
        raise errors.raised(8114, "Error converting data type numeric to numeric.")
    return f"CAST('{value:f}' AS DECIMAL({precision},{scale}))"


@dataclass(frozen=True, kw_only=True)
class World:
    """What a statement can ask of its surroundings."""

    variables: Mapping[str, str]
    """DuckDB text of each variable, parameter and @@function, by lower-case name."""
    table: Callable[[str, str], Table | None]
    function: Callable[[str, Sequence[object]], str | None]
    """DuckDB text for a function of the server and its constant arguments; None if there is no such function."""
    view: Callable[[str], str | None] = lambda _: None
    """DuckDB query for a view of schema sys by lower-case name; None if DuckDB has it."""


def name_of(of: Sequence[Token], place: int = 0) -> tuple[str, str, int]:
    """Schema and name of the object named at *place*, and where its name ends. ``dbo`` where no schema is given."""
    parts = [of[place].value]
    place += 1
    while place < len(of) and of[place].text == ".":
        empty = of[place + 1].text == "."
        parts.append("" if empty else of[place + 1].value)
        place += 1 if empty else 2
    schema = parts[-2] if len(parts) > 1 and parts[-2] else "dbo"
    return schema, parts[-1], place


def query(of: Tokens, world: World) -> str:
    """A SELECT, also WITH and unions."""
    parsed = _parsed(text(without_hints(of)))
    _adapt(parsed, world)
    into = parsed.args.get("into") if isinstance(parsed, exp.Select) else None
    if into is None:
        return _sql(parsed)
    parsed.set("into", None)
    target = into.this
    temporary = "TEMP " if target.name.startswith("#") else ""
    return f"CREATE {temporary}TABLE {_sql(target)} AS {_sql(parsed)}"


def condition(of: Tokens, world: World) -> str:
    parsed = _parsed("SELECT CASE WHEN " + text(without_hints(of)) + " THEN 1 ELSE 0 END")
    _adapt(parsed, world)
    return _sql(parsed)


def insert(of: Tokens, world: World) -> tuple[str, Table]:
    """INSERT [INTO] t [(columns)] [OUTPUT ...] VALUES ... | SELECT ..., and the table it goes to."""
    of = without_hints(of)
    schema, name, place = name_of(of, 2 if of[1].word == "INTO" else 1)
    table = _known(world, schema, name)
    names = [column.name for column in table.columns]
    if of[place].text == "(":
        end = closing(of, place)
        names = [token.value for token in of[place + 1 : end] if token.text != ","]
        place = end + 1
    returning, place = _output(of, place)
    if of[place].word == "DEFAULT":
        return f"INSERT INTO {table.quoted} DEFAULT VALUES{returning}", table
    columns = [table.column(name) for name in names]
    source = of[place:]
    if source[0].word == "VALUES":
        _check_rows(source, len(names))
        parsed = _parsed(f"SELECT * FROM ( {text(source)} ) AS q")
    else:
        parsed = _parsed(text(source))
        found = parsed.selects if isinstance(parsed, exp.Query) else []
        if found and not any(e.is_star for e in found) and len(found) != len(names):
            raise errors.raised(*_COUNTS[len(found) > len(names)])
    _adapt(parsed, world)
    fitted = [_fitted(f"q.c{n}", table, column) for n, column in enumerate(columns)]
    aliases = ", ".join(f"c{n}" for n in range(len(columns)))
    into = ", ".join(quoted(column.name) for column in columns)
    inner = _sql(parsed)
    sql = f"INSERT INTO {table.quoted} ({into}) SELECT {', '.join(fitted)} FROM ({inner}) AS q({aliases}){returning}"
    return sql, table


_COUNTS = {
    False: (120, "The select list for the INSERT statement contains fewer items than the insert list. The number of "
            "SELECT values must match the number of INSERT columns."),
    True: (121, "The select list for the INSERT statement contains more items than the insert list. The number of "
           "SELECT values must match the number of INSERT columns."),
}  # fmt: skip


def insert_of_parameters(of: Tokens, world: World) -> tuple[Table, list[str]] | None:
    """Table and columns of an INSERT that has one row of nothing but parameters; None for any other statement."""
    of = without_hints(of)
    if of[0].word != "INSERT" or "VALUES" not in [token.word for token in of]:
        return None
    schema, name, place = name_of(of, 2 if of[1].word == "INTO" else 1)
    if of[place].text != "(":
        return None
    end = closing(of, place)
    names = [token.value for token in of[place + 1 : end] if token.text != ","]
    rest = [token.text for token in of[end + 1 :] if token.text != ";"]
    wanted = ["(", *", ".join(f"@_p{n}" for n in range(len(names))).replace(",", " ,").split(), ")"]
    return (_known(world, schema, name), names) if [rest[0].upper(), *rest[1:]] == ["VALUES", *wanted] else None


def insert_from(table: Table, names: Sequence[str], source: str) -> str:
    """Insert the columns c0, c1 ... of *source*."""
    columns = [table.column(name) for name in names]
    fitted = ", ".join(_fitted(f"q.c{n}", table, column) for n, column in enumerate(columns))
    into = ", ".join(quoted(column.name) for column in columns)
    return f"INSERT INTO {table.quoted} ({into}) SELECT {fitted} FROM {source} AS q"


def update(of: Tokens, world: World) -> tuple[str, Table]:
    """UPDATE t SET ... [FROM ...] [WHERE ...], where t may be an alias of the FROM."""
    of = without_hints(of)
    place = closing(of, 2) + 1 if of[1].word == "TOP" else 1
    target, end = _dotted(of, place)
    pieces = {piece[0].word: piece for piece in split(of[end:], "SET", "OUTPUT", "FROM", "WHERE")[1:]}
    table, alias, source = _source(target, pieces.get("FROM"), world)
    names, values = [], []
    for assignment in split(pieces["SET"][1:], ","):
        sign = next(n for n, token in enumerate(assignment) if token.text in ("=", "+=", "-="))
        name = assignment[sign - 1].value
        names.append(table.column(name))
        grown = f"{alias} . [{name}] {assignment[sign].text[0]}" if assignment[sign].text != "=" else ""
        values.append(f"{grown} ( {text(assignment[sign + 1 :])} )")
    selected = ", ".join(f"{value} AS v{n}" for n, value in enumerate(values))
    where = text(pieces.get("WHERE", ()))
    parsed = _parsed(f"SELECT {alias} . rowid AS rid , {selected} FROM {source} {where}")
    _adapt(parsed, world)
    changes = ", ".join(f"{quoted(c.name)} = {_fitted(f'q.v{n}', table, c)}" for n, c in enumerate(names))
    returning, _ = _output(pieces.get("OUTPUT", ()), 0)
    inner = f"SELECT DISTINCT ON (rid) * FROM ({_sql(parsed)})" if "FROM" in pieces else _sql(parsed)
    return f"UPDATE {table.quoted} SET {changes} FROM ({inner}) AS q WHERE rowid = q.rid{returning}", table


def delete(of: Tokens, world: World) -> tuple[str, Table]:
    """DELETE [FROM] t [FROM ...] [WHERE ...], where t may be an alias of the second FROM."""
    of = without_hints(of)
    place, top = 1, ""
    if of[place].word == "TOP":
        end = closing(of, place + 1)
        top, place = text(of[place : end + 1]), end + 1
    target, end = _dotted(of, place + (of[place].word == "FROM"))
    pieces = {piece[0].word: piece for piece in split(of[end:], "OUTPUT", "FROM", "WHERE")[1:]}
    table, alias, source = _source(target, pieces.get("FROM"), world)
    returning, _ = _output(pieces.get("OUTPUT", ()), 0)
    if not pieces and not top:
        return f"DELETE FROM {table.quoted}", table
    parsed = _parsed(f"SELECT {top} {alias} . rowid AS rid FROM {source} {text(pieces.get('WHERE', ()))}")
    _adapt(parsed, world)
    return f"DELETE FROM {table.quoted} WHERE rowid IN ({_sql(parsed)}){returning}", table


def expression(of: Tokens, world: World) -> str:
    """One value, as in a DEFAULT or a variable."""
    parsed = _parsed("SELECT " + text(of))
    _adapt(parsed, world)
    return _sql(parsed).removeprefix("SELECT ")


# -- pieces of statements


def _known(world: World, schema: str, name: str) -> Table:
    table = world.table(schema, name)
    if table is None:
        shown = name if name.startswith("#") or schema == "dbo" else f"{schema}.{name}"
        raise errors.raised(208, f"Invalid object name '{shown}'.")
    return table


def _dotted(of: Tokens, place: int) -> tuple[Tokens, int]:
    _, _, end = name_of(of, place)
    return of[place:end], end


def _source(target: Tokens, given: Tokens | None, world: World) -> tuple[Table, str, str]:
    """The table to change, what it is called in the FROM, and that FROM."""
    schema, name, _ = name_of(target)
    if given is None:
        return _known(world, schema, name), text(target), text(target)
    parsed = _parsed("SELECT * " + text(given))
    sources = [parsed.args["from_"].this, *(join.this for join in parsed.args.get("joins") or ())]
    for found in sources:
        if not isinstance(found, exp.Table):
            continue
        by_alias = len(target) == 1 and found.alias_or_name.lower() == name.lower()
        by_name = (
            not found.alias and found.name.lower() == name.lower() and (found.db or "dbo").lower() == schema.lower()
        )
        if by_alias or by_name:
            table = _known(world, found.db or "dbo", found.name)
            return table, f"[{found.alias}]" if found.alias else text(target), text(given[1:])
    return _known(world, schema, name), text(target), f"{text(target)} , {text(given[1:])}"


def _output(of: Tokens, place: int) -> tuple[str, int]:
    """RETURNING for an OUTPUT at *place*, and where it ends."""
    if place >= len(of) or of[place].word != "OUTPUT":
        return "", place
    end = next((n for n in range(place, len(of)) if of[n].word in ("VALUES", "SELECT", "WITH", "DEFAULT")), len(of))
    parsed = _parsed("SELECT " + text(of[place + 1 : end]))
    for column in list(parsed.find_all(exp.Column)):
        column.set("table", None)
    return " RETURNING " + _sql(parsed).removeprefix("SELECT "), end


def _check_rows(of: Tokens, width: int) -> None:
    rows, place = 0, 1
    while place < len(of) and of[place].text == "(":
        end = closing(of, place)
        if rows == 0 and len(split(of[place + 1 : end], ",")) != width:
            raise errors.raised(
                109 if len(split(of[place + 1 : end], ",")) < width else 110,
                "The number of values in the VALUES clause must match the number of columns in the INSERT statement.",
            )
        rows, place = rows + 1, end + 2
    if rows > 1000:
        raise errors.raised(
            10738,
            "The number of row value expressions in the INSERT statement exceeds the maximum allowed number of 1000 "
            "row values.",
        )


def _fitted(value: str, table: Table, column: catalog.Column) -> str:
    place = catalog.literal(f"table '{table.shown}', column '{column.name}'")
    if column.type.length is None:
        return value
    if column.type.length < 0:
        return f"_text({value})" if column.type.is_text else f"_bytes({value})"
    macro = "_fit" if column.type.is_text else "_fit_bytes"
    return f"{macro}({value}, {column.type.length}, {place})"


# -- one parsed statement


@functools.lru_cache(maxsize=2_000)
def _parse(sql: str) -> exp.Expr:
    return sqlglot.parse_one(sql, read="tsql")


def _parsed(sql: str) -> exp.Expr:
    try:
        return _parse(sql).copy()
    except sqlglot.ParseError as error:
        raise NotImplementedError(f"the stand-in cannot read this: {sql}: {error}") from error


def _sql(parsed: exp.Expr) -> str:
    return parsed.sql("duckdb", normalize_functions=False, unsupported_level=sqlglot.ErrorLevel.IGNORE)


def _adapt(parsed: exp.Expr, world: World) -> None:
    """Change *parsed* in place; the order of the steps matters."""
    _adapt_values(parsed, world)
    for node in list(parsed.find_all(exp.Table, exp.Exists)):
        if isinstance(node, exp.Table):
            _adapt_table(node, world)
        else:
            _adapt_exists(node)
    for node in list(parsed.find_all(exp.Select, exp.SetOperation)):
        if isinstance(node, exp.Select):
            _adapt_select(node)
        elif node.args.get("distinct"):
            for side in (node.left, node.right):
                _wrap_selected(side)
    for node in reversed(list(parsed.find_all(exp.Add, *_COMPARISONS))):
        if not isinstance(node, exp.Add):
            _adapt_comparison(node)
        elif not _aggregates(node):
            node.replace(_call("_plus", node.left, node.right))


_COMPARISONS = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.NullSafeEQ, exp.NullSafeNEQ, exp.Between, exp.In)


def _adapt_values(parsed: exp.Expr, world: World) -> None:
    nodes = list(parsed.walk())
    for node in nodes:
        if isinstance(node, exp.Identifier) and node.name.startswith("~"):
            node.set("this", "#" + node.name[1:])
            node.set("quoted", True)
        elif isinstance(node, exp.National):
            node.replace(exp.Literal.string(node.name))
        elif isinstance(node, exp.Boolean):
            name = str(node).upper()
            raise errors.raised(207, f"Invalid column name '{name}'.")  # there are no such words
        elif isinstance(node, exp.Parameter) and not isinstance(node.parent, exp.Parameter):
            node.replace(exp.Var(this=_variable(node, world)))
    for node in reversed(nodes):
        if isinstance(node, exp.Collate):
            node.set("expression", exp.Var(this="NOCASE" if "_CI_" in node.expression.name else "C"))
        elif isinstance(node, (exp.Func, exp.Cast)):
            changed = _function(node, world)
            if changed is not None:
                node.replace(changed)


def _variable(parameter: exp.Parameter, world: World) -> str:
    inner = parameter.this
    name = f"@@{inner.this.name}" if isinstance(inner, exp.Parameter) else f"@{parameter.name}"
    found = world.variables.get(name.lower())
    if found is None:
        raise errors.raised(137, f'Must declare the scalar variable "{name}".')
    return found


def _function(function: exp.Expr, world: World) -> exp.Expr | None:
    """What DuckDB calls a function; None to leave it as sqlglot has it."""
    if isinstance(function, exp.Cast):
        return _cast(function.this, function.to, None)
    if isinstance(function, exp.Convert):
        plain = _cast(function.expression, function.this, function.args.get("style"))
        kind = exp.TryCast if function.args.get("safe") else exp.Cast
        return plain or kind(this=function.expression.copy(), to=function.this.copy())
    if isinstance(function, exp.Length):
        return _call("_len", _uncast(function.this))
    if isinstance(function, exp.CurrentTimestamp):
        return _server("SYSUTCDATETIME", (), world)
    if isinstance(function, exp.Anonymous):
        name = function.name.upper()
        if name in _MACROS:
            return _call(_MACROS[name], *function.expressions)
        if name == "HASHBYTES":
            return _call({"SHA2_256": "_sha256", "MD5": "_md5"}[function.expressions[0].name], function.expressions[1])
        return _server(name, function.expressions, world)
    if isinstance(function, (exp.SHA2, exp.SHA2Digest)):
        return _call("_sha256", function.this)
    if isinstance(function, (exp.MD5, exp.MD5Digest)):
        return _call("_md5", function.this)
    if type(function) in _SERVERS:
        return _server(_SERVERS[type(function)], [a for a in function.args.values() if isinstance(a, exp.Expr)], world)
    return None


_SERVERS = {exp.ObjectId: "OBJECT_ID", exp.CurrentUser: "SUSER_SNAME", exp.CurrentSchema: "SCHEMA_NAME"}


_MACROS = {"DATALENGTH": "_datalength", "NEWID": "uuid", "COUNT_BIG": "count", "CHECKSUM": "hash",
           "BINARY_CHECKSUM": "hash"}  # fmt: skip


def _server(name: str, given: Sequence[exp.Expr], world: World) -> exp.Expr | None:
    told = world.function(name, [_constant(argument) for argument in given])
    return None if told is None else exp.Var(this=told)


def _constant(argument: exp.Expr) -> object:
    if isinstance(argument, exp.Literal):
        return argument.name if argument.is_string else int(argument.name)
    if isinstance(argument, exp.Var) and argument.name.startswith("'"):
        return argument.name[1:-1].replace("''", "'")
    return None


def _call(name: str, *arguments: exp.Expr) -> exp.Expr:
    return exp.Anonymous(this=name, expressions=list(arguments))


def _uncast(argument: exp.Expr) -> exp.Expr:
    """sqlglot puts a CAST to text around what LEN measures."""
    return argument.this if isinstance(argument, exp.Cast) else argument


_TEXT_KINDS = {exp.DType.NVARCHAR, exp.DType.VARCHAR, exp.DType.CHAR, exp.DType.NCHAR, exp.DType.TEXT}


def _cast(value: exp.Expr, kind: exp.DataType, style: exp.Expr | None) -> exp.Expr | None:
    """CAST or CONVERT of *value*; None to leave it as sqlglot has it."""
    length = next((e.name for e in kind.expressions), None)
    if kind.this in _TEXT_KINDS:
        as_text = _call("_hex" if style is not None and style.name == "2" else "_text", value)
        if _aggregates(value):
            as_text = exp.Cast(this=value.copy(), to=exp.DataType.build("VARCHAR", dialect="duckdb"))
        if length is None:
            return _call("_left", as_text, exp.Literal.number(30))  # what CAST takes without a length
        return as_text if length.upper() == "MAX" else _call("_left", as_text, exp.Literal.number(length))
    if kind.this in (exp.DType.VARBINARY, exp.DType.BINARY) and style is not None and style.name == "2":
        return _call("unhex", value)
    to = _PLAIN.get(kind.this)
    if kind.this in (exp.DType.FLOAT, exp.DType.DOUBLE):
        to = "FLOAT" if length is not None and int(length) <= 24 else "DOUBLE"
    return None if to is None else exp.Cast(this=value.copy(), to=exp.DataType.build(to, dialect="duckdb"))


_PLAIN = {exp.DType.DATETIME2: "TIMESTAMP", exp.DType.TIMESTAMP: "TIMESTAMP", exp.DType.DATETIME: "TIMESTAMP",
          exp.DType.TIME: "TIME", exp.DType.BIT: "BOOLEAN", exp.DType.VARBINARY: "BLOB",
          exp.DType.BINARY: "BLOB"}  # fmt: skip


def _adapt_table(table: exp.Table, world: World) -> None:
    schema = table.db.upper()
    own = world.view(table.name.lower()) if schema == "SYS" else None
    if own is not None:
        alias = exp.TableAlias(this=exp.to_identifier(table.alias_or_name, quoted=True))
        table.replace(exp.Subquery(this=sqlglot.parse_one(own, read="duckdb"), alias=alias))
        return
    if table.name.startswith("#"):
        table.set("db", None)
        table.set("catalog", None)
    elif schema in ("INFORMATION_SCHEMA", "SYS"):
        table.set("db", exp.to_identifier("info" if schema == "INFORMATION_SCHEMA" else "sys"))
        table.set("catalog", exp.to_identifier(catalog.SYSTEM))


def _adapt_exists(found: exp.Exists) -> None:
    """EXISTS (SELECT a INTERSECT SELECT b) compares NULLs as equal. Said so, DuckDB can join by it."""
    inner = found.this
    if not isinstance(inner, (exp.Intersect, exp.Except)):
        return
    left, right = inner.left, inner.right
    if any(not isinstance(side, exp.Select) or side.args.get("from_") for side in (left, right)):
        return
    same = [exp.NullSafeEQ(this=a.unalias(), expression=b.unalias())
            for a, b in zip(left.selects, right.selects, strict=True)]  # fmt: skip
    equal = exp.paren(exp.and_(*same), copy=False)
    found.replace(equal if isinstance(inner, exp.Intersect) else exp.Not(this=equal))


def _adapt_select(select: exp.Select) -> None:
    group = select.args.get("group")
    if group is not None and group.expressions:
        _adapt_group(select, group)
    distinct = select.args.get("distinct")
    if distinct is not None and not any(e.is_star for e in select.selects):
        distinct.set("on", exp.Tuple(expressions=[_key(e.unalias().copy()) for e in select.selects]))
    for window in select.find_all(exp.Window):
        window.set("partition_by", [_key(e) for e in window.args.get("partition_by") or ()])
    for count in select.find_all(exp.Count):
        if isinstance(count.this, exp.Distinct):
            count.this.set("expressions", [_key(e) for e in count.this.expressions])


def _adapt_group(select: exp.Select, group: exp.Group) -> None:
    grouped = list(group.expressions)
    for place, selected in enumerate(list(select.selects)):
        named = selected.alias_or_name
        plain = _any_of(selected.unalias(), grouped)
        select.expressions[place].replace(exp.alias_(plain, named, quoted=True) if named else plain)
    for clause in ("having", "order"):
        if select.args.get(clause):
            names = {selected.alias_or_name.lower() for selected in select.selects}
            kept = [e for e in grouped if clause == "having" or e.name.lower() not in names]
            select.set(clause, _any_of(select.args[clause], kept))
    group.set("expressions", [_key(e) for e in grouped])


def _any_of(of: exp.Expr, grouped: Sequence[exp.Expr]) -> exp.Expr:
    """*of* with any_value() around what is grouped by, but for what is inside an aggregate already."""
    if of in grouped:
        return exp.AnyValue(this=of.copy())
    changed = of.copy()
    for node in list(changed.walk()):
        if node is not changed and node in grouped and not node.find_ancestor(exp.AggFunc):
            node.replace(exp.AnyValue(this=node.copy()))
    return changed


def _wrap_selected(side: exp.Expr) -> None:
    select = side.this if isinstance(side, exp.Subquery) else side
    if isinstance(select, exp.Select) and not any(e.is_star for e in select.selects):
        select.set("expressions", [exp.alias_(_key(e.unalias()), e.alias_or_name or "_", quoted=True)
                                   for e in select.selects])  # fmt: skip


def _key(of: exp.Expr) -> exp.Expr:
    """*of* without trailing blanks if it is text. DuckDB takes an aggregate for text when it looks for the macro."""
    if isinstance(of, exp.Literal) and not of.is_string:
        return of
    if isinstance(of, (exp.Max, exp.Min, exp.AnyValue)) and not _aggregates(of.this):
        return type(of)(this=_call("_k", of.this))
    return of if _aggregates(of) else _call("_k", of)


def _aggregates(of: exp.Expr) -> bool:
    if isinstance(of, (exp.Column, exp.Literal, exp.Var)):
        return False
    found = list(of.find_all(exp.AggFunc, exp.Window))
    return bool(found) and any(node.find_ancestor(exp.Query) is of.find_ancestor(exp.Query) for node in found)


def _adapt_comparison(comparison: exp.Expr) -> None:
    if isinstance(comparison, exp.Between):
        parts = ["this", "low", "high"]
    elif isinstance(comparison, exp.In):
        parts = ["this"]
        comparison.set("expressions", [_key(e) for e in comparison.expressions])
        if comparison.args.get("query"):
            _wrap_selected(comparison.args["query"])
    else:
        parts = ["this", "expression"]
    told = next((c.expression.copy() for p in parts if isinstance(c := comparison.args[p].unnest(), exp.Collate)), None)
    for part in parts:
        side = comparison.args[part]
        if isinstance(side, exp.Tuple):
            continue
        plain = side.unnest()
        if told is not None and not isinstance(plain, exp.Collate):
            side = exp.Cast(this=side.copy(), to=exp.DataType.build("VARCHAR", dialect="duckdb"))
        elif isinstance(plain, exp.Collate):  # an explicit collation takes precedence over a column's
            side = exp.Cast(this=plain.this.copy(), to=exp.DataType.build("VARCHAR", dialect="duckdb"))
        key = _key(side)
        comparison.set(part, exp.Collate(this=key, expression=told.copy()) if told is not None else key)
