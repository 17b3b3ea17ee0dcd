"""A parsed T-SQL statement in DuckDB's words, with SQL Server's idea of when two texts are equal.

Every comparison, ORDER BY, GROUP BY, DISTINCT, PARTITION BY and set operation goes over _k(), which takes trailing
blanks from text; case is left to DuckDB's collations, which columns have by their declared ones."""

from __future__ import annotations

import functools

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import sqlglot

from sqlglot import exp

from tests.standins.tsql import catalog, errors
from tests.standins.tsql.catalog import Table


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


@functools.lru_cache(maxsize=4_000)
def read(sql: str) -> exp.Expr:
    """*sql* parsed, for looking at only: it is shared."""
    try:
        return sqlglot.parse_one(sql, read="tsql")
    except sqlglot.ParseError as error:
        raise NotImplementedError(f"the stand-in cannot read this: {sql}: {error}") from error


def parsed(sql: str) -> exp.Expr:
    """The same, to be changed."""
    return read(sql).copy()


def sql(parsed: exp.Expr) -> str:
    return parsed.sql("duckdb", normalize_functions=False, unsupported_level=sqlglot.ErrorLevel.IGNORE)


def rewritten(text: str, world: World) -> str:
    """A query from T-SQL to DuckDB."""
    query = parsed(text)
    adapt(query, world)
    return sql(query)


HOLE = "\x02{}\x03"
"""Stands for a value that is not known yet (see template.py)."""


def adapt(parsed: exp.Expr, world: World) -> None:
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
    try:
        return world.variables[name.lower()]
    except KeyError:
        raise errors.raised(137, f'Must declare the scalar variable "{name}".') from None


def _function(function: exp.Expr, world: World) -> exp.Expr | None:  # noqa: C901, PLR0911 - one case a function
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
    reported = world.function(name, [_constant(argument) for argument in given])
    return None if reported is None else exp.Var(this=reported)


def _constant(argument: exp.Expr) -> object:
    if isinstance(argument, exp.Literal):
        return argument.name if argument.is_string else int(argument.name)
    return constant_text(argument.name) if isinstance(argument, exp.Var) else None


def constant_text(sql: str) -> str | None:
    """What a string of DuckDB says; a hole is itself, and None any other expression."""
    if sql.startswith(HOLE[0]):
        return sql
    return sql[1:-1].replace("''", "'") if sql.startswith("'") else None


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
    order = select.args.get("order")
    if order is not None and group is None and distinct is None:
        for one in order.expressions:
            if isinstance(one.this, exp.Column) and one.this.table:  # no alias of what is selected
                one.set("this", _key(one.this))


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
    reported = next(
        (c.expression.copy() for p in parts if isinstance(c := comparison.args[p].unnest(), exp.Collate)), None
    )
    for part in parts:
        side = comparison.args[part]
        if isinstance(side, exp.Tuple):
            continue
        plain = side.unnest()
        if reported is not None and not isinstance(plain, exp.Collate):
            side = exp.Cast(this=side.copy(), to=exp.DataType.build("VARCHAR", dialect="duckdb"))
        elif isinstance(plain, exp.Collate):  # an explicit collation takes precedence over a column's
            side = exp.Cast(this=plain.this.copy(), to=exp.DataType.build("VARCHAR", dialect="duckdb"))
        key = _key(side)
        comparison.set(part, exp.Collate(this=key, expression=reported.copy()) if reported is not None else key)
