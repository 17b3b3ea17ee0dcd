"""T-SQL statements that read or change rows, as one statement of DuckDB's. What is stored goes through _fit()."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from tests.standins.tsql import catalog, errors, rewrite, template
from tests.standins.tsql.catalog import Table, quoted
from tests.standins.tsql.rewrite import World
from tests.standins.tsql.script import Token, Tokens, closing, split, text, without_hints


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
    sql = text(without_hints(of))
    into = rewrite.read(sql).args.get("into") if any(token.word == "INTO" for token in of) else None
    if into is None:
        return template.duckdb(sql, world)
    parsed = rewrite.parsed(sql)
    rewrite.adapt(parsed, world)
    into = parsed.args["into"]
    parsed.set("into", None)
    target = into.this
    temporary = "TEMP " if target.name.startswith("#") else ""
    return f"CREATE {temporary}TABLE {rewrite.sql(target)} AS {rewrite.sql(parsed)}"


def condition(of: Tokens, world: World) -> str:
    return template.duckdb("SELECT CASE WHEN " + text(without_hints(of)) + " THEN 1 ELSE 0 END", world)


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
        selected = f"SELECT * FROM ( {text(source)} ) AS q"
    else:
        selected = text(source)
        parsed = rewrite.read(selected)
        found = parsed.selects if isinstance(parsed, exp.Query) else []
        if found and not any(e.is_star for e in found) and len(found) != len(names):
            raise errors.raised(*_COUNTS[len(found) > len(names)])
    values = [fitted(f"q.c{n}", table, column) for n, column in enumerate(columns)]
    aliases = ", ".join(f"c{n}" for n in range(len(columns)))
    into = ", ".join(quoted(column.name) for column in columns)
    inner = template.duckdb(selected, world)
    sql = f"INSERT INTO {table.quoted} ({into}) SELECT {', '.join(values)} FROM ({inner}) AS q({aliases}){returning}"
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
    values = ", ".join(fitted(f"q.c{n}", table, column) for n, column in enumerate(columns))
    into = ", ".join(quoted(column.name) for column in columns)
    return f"INSERT INTO {table.quoted} ({into}) SELECT {values} FROM {source} AS q"


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
    rows = template.duckdb(f"SELECT {alias} . rowid AS rid , {selected} FROM {source} {where}", world)
    changes = ", ".join(f"{quoted(c.name)} = {fitted(f'q.v{n}', table, c)}" for n, c in enumerate(names))
    returning, _ = _output(pieces.get("OUTPUT", ()), 0)
    inner = f"SELECT DISTINCT ON (rid) * FROM ({rows})" if "FROM" in pieces else rows
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
    rows = template.duckdb(f"SELECT {top} {alias} . rowid AS rid FROM {source} {text(pieces.get('WHERE', ()))}", world)
    return f"DELETE FROM {table.quoted} WHERE rowid IN ({rows}){returning}", table


def expression(of: Tokens, world: World) -> str:
    """One value, as in a DEFAULT or a variable."""
    return template.duckdb("SELECT " + text(of), world).removeprefix("SELECT ")


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
    parsed = rewrite.read("SELECT * " + text(given))
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
    parsed = rewrite.parsed("SELECT " + text(of[place + 1 : end]))
    for column in list(parsed.find_all(exp.Column)):
        column.set("table", None)
    return " RETURNING " + rewrite.sql(parsed).removeprefix("SELECT "), end


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


def fitted(value: str, table: Table, column: catalog.Column) -> str:
    """DuckDB text for *value* as *column* stores it, or refuses it."""
    place = catalog.literal(f"table '{table.shown}', column '{column.name}'")
    if column.type.length is None:
        return value
    if column.type.length < 0:
        return f"_text({value})" if column.type.is_text else f"_bytes({value})"
    macro = "_fit" if column.type.is_text else "_fit_bytes"
    return f"{macro}({value}, {column.type.length}, {place})"
