"""CREATE, ALTER and DROP of tables, indexes, views and schemas, on DuckDB, with what SQL Server would refuse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import duckdb

from tests.standins.tsql import catalog, errors, translate
from tests.standins.tsql.catalog import Column, Index, Table, Type, quoted
from tests.standins.tsql.rewrite import World
from tests.standins.tsql.script import Token, Tokens, closing, split, text
from tests.standins.tsql.translate import name_of

KEY_BYTES = 1_700
"""What the key of a nonclustered index may take."""


@dataclass(frozen=True, kw_only=True)
class _Definition:
    """One column as CREATE TABLE or ALTER TABLE says it."""

    column: Column
    default: str | None = None
    constraint: str | None = None
    """Name of the default's constraint."""
    key: Index | None = None
    with_values: bool = False


class Ddl:
    """Statements on one connection, within its transaction."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, world: World, now: str, batch: str) -> None:
        self._connection, self._now, self._batch = connection, now, batch
        self._world = replace(world, function=lambda name, given: _LATER.get(name) or world.function(name, given))

    def run(self, of: Tokens) -> None:
        words = [token.word for token in of[:4]]
        for start, act in self._acts().items():
            if words[: len(start)] == list(start):
                act(of, len(start))
                return
        raise NotImplementedError(f"the stand-in does not imitate {text(of[:6])}")

    def _acts(self) -> dict[tuple[str, ...], Callable[[Tokens, int], None]]:
        return {
            ("CREATE", "SCHEMA"): self._create_schema,
            ("CREATE", "TABLE"): self._create_table,
            ("CREATE", "OR", "ALTER", "VIEW"): self._create_view,
            ("CREATE", "VIEW"): self._create_view,
            ("ALTER", "VIEW"): self._create_view,
            ("CREATE", "UNIQUE"): self._create_index,
            ("CREATE", "CLUSTERED"): self._create_index,
            ("CREATE", "NONCLUSTERED"): self._create_index,
            ("CREATE", "INDEX"): self._create_index,
            ("ALTER", "TABLE"): self._alter_table,
            ("ALTER", "SCHEMA"): self._transfer,
            ("ALTER", "INDEX"): lambda of, place: None,
            ("DROP", "TABLE"): self._drop,
            ("DROP", "VIEW"): self._drop,
            ("DROP", "SCHEMA"): self._drop_schema,
            ("DROP", "INDEX"): self._drop_index,
            ("TRUNCATE", "TABLE"): self._truncate,
        }

    def rename(self, old: str, new: str, what: str) -> None:
        """sp_rename. *new* is one name, not quoted."""
        from tests.standins.tsql.script import tokens

        parts = tokens(old)
        if what == "COLUMN":
            schema, name, _ = name_of(parts[:-2])
            table, column = self._known(schema, name), parts[-1].value
            self._do(f"ALTER TABLE {table.quoted} RENAME COLUMN {quoted(column)} TO {quoted(new)}")
            return
        if what == "INDEX":
            schema, name, _ = name_of(parts[:-2])
            table = self._known(schema, name)
            renamed = (replace(i, name=new) if i.name.lower() == parts[-1].value.lower() else i for i in table.indexes)
            catalog.remember(self._connection, replace(table, indexes=tuple(renamed)))
            return
        schema, name, _ = name_of(parts)
        table = self._world.table(schema, name)
        if table is None:
            raise errors.raised(
                15225, f"No item by the name of '{old}' could be found in the current database 'sluice', given that "
                "@itemtype was input as '(null)'.",
            )  # fmt: skip
        if self._world.table(schema, new) is not None:
            raise errors.raised(15335, f"Error: The new name '{new}' is already in use as a object name and would "
                                "cause a duplicate that is not permitted.")  # fmt: skip
        self._do(f"ALTER TABLE {table.quoted} RENAME TO {quoted(new)}")

    # -- schemas and views

    def _create_schema(self, of: Tokens, place: int) -> None:
        name = of[place].value
        if self._world.function("SCHEMA_ID", [name]) != "NULL":
            raise errors.raised(2714, f"There is already an object named '{name}' in the database.")
        self._do(f"CREATE SCHEMA {quoted(name)}")

    def _drop_schema(self, of: Tokens, place: int) -> None:
        exists, place = _if_exists(of, place)
        self._do(f"DROP SCHEMA {exists}{quoted(of[place].value)}")

    def _create_view(self, of: Tokens, place: int) -> None:
        schema, name, end = name_of(of, place)
        self._schema(schema)
        if of[end].word != "AS":
            raise NotImplementedError("views with a list of columns or options are not imitated")
        replaces = "OR REPLACE " if of[1].word == "OR" or of[0].word == "ALTER" else ""
        body = translate.query(of[end + 1 :], self._world)
        self._do(f"CREATE {replaces}VIEW {quoted(schema)}.{quoted(name)} AS {body}")
        # Its definition: nothing else may stand in the batch of a view.
        self._do(f"COMMENT ON VIEW {quoted(schema)}.{quoted(name)} IS {catalog.literal(self._batch)}")

    def _drop(self, of: Tokens, place: int) -> None:
        exists, place = _if_exists(of, place)
        kind = of[1].word
        for target in split(of[place:], ","):
            schema, name, _ = name_of(target)
            if kind == "TABLE" and self._world.table(schema, name) is None:
                if exists:
                    continue
                shown = name if schema == "dbo" else f"{schema}.{name}"
                raise errors.raised(
                    3701, f"Cannot drop the table '{shown}', because it does not exist or you do not have permission."
                )
            full = quoted(name) if name.startswith("#") else f"{quoted(schema)}.{quoted(name)}"
            self._do(f"DROP {kind} {exists}{full}")

    def _truncate(self, of: Tokens, place: int) -> None:
        schema, name, _ = name_of(of, place)
        self._do(f"DELETE FROM {self._known(schema, name).quoted}")

    def _transfer(self, of: Tokens, place: int) -> None:
        """ALTER SCHEMA new TRANSFER [OBJECT ::] old.name. DuckDB cannot move a table, so it is copied."""
        wanted = of[place].value
        named = of[place + 2 :]
        if named[0].word == "OBJECT":
            named = named[3:]
        schema, name, _ = name_of(named)
        self._schema(wanted)
        table = self._known(schema, name)
        if self._world.table(wanted, name) is not None:
            raise errors.raised(15530, f'The object with name "{name}" already exists.')
        moved = replace(table, schema=wanted)
        self._do(f"CREATE TABLE {moved.quoted} AS SELECT * FROM {table.quoted}")
        for column in moved.columns:
            catalog.remember_type(self._connection, moved, column)
            if not column.nullable:
                self._do(f"ALTER TABLE {moved.quoted} ALTER COLUMN {quoted(column.name)} SET NOT NULL")
        catalog.remember(self._connection, moved)
        self._do(f"DROP TABLE {table.quoted}")

    # -- tables

    def _create_table(self, of: Tokens, place: int) -> None:
        schema, name, end = name_of(of, place)
        self._schema(schema)
        if self._world.table(schema, name) is not None:
            raise errors.raised(2714, f"There is already an object named '{name}' in the database.")
        definitions: list[_Definition] = []
        table = Table(schema=schema, name=name, columns=(), created=self._now)
        for part in split(of[end + 1 : closing(of, end)], ","):
            if part[0].word in ("CONSTRAINT", "PRIMARY", "UNIQUE", "INDEX", "CHECK"):
                table = self._with_constraint(table, part)
            else:
                definitions.append(self._definition(part, table))
        keys = {key.lower() for index in table.indexes if index.constraint for key in index.keys}
        definitions = [
            replace(d, column=replace(d.column, nullable=False)) if d.column.name.lower() in keys else d
            for d in definitions
        ]
        if len(definitions) > 1024:
            raise errors.raised(1702, f"CREATE TABLE failed because column '{definitions[1024].column.name}' in table "
                                f"'{name}' exceeds the maximum of 1024 columns.")  # fmt: skip
        _refuse_twice(name, [d.column.name for d in definitions])
        table = replace(
            table,
            columns=tuple(d.column for d in definitions),
            indexes=(*table.indexes, *(d.key for d in definitions if d.key)),
            defaults={d.constraint: d.column.name for d in definitions if d.constraint},
        )
        for index in table.indexes:
            _check_key(table, index)
        described = ", ".join(_described(d) for d in definitions)
        temporary = "TEMP " if name.startswith("#") else ""
        self._do(f"CREATE {temporary}TABLE {table.quoted} ({described})")
        for column in table.columns:
            catalog.remember_type(self._connection, table, column)
        catalog.remember(self._connection, table)

    def _alter_table(self, of: Tokens, place: int) -> None:
        schema, name, place = name_of(of, place)
        table = self._known(schema, name)
        rest = of[place:]
        match [token.word for token in rest[:2]]:
            case ["ADD", "CONSTRAINT"]:
                self._add_constraint(table, rest[1:])
            case ["ADD", _]:
                for part in split(rest[1:], ","):
                    table = self._add_column(table, part)
            case ["ALTER", "COLUMN"]:
                self._alter_column(table, rest[2:])
            case ["DROP", "COLUMN"]:
                exists, start = _if_exists(rest, 2)
                for part in split(rest[start:], ","):
                    table = self._drop_column(table, part[-1].value, bool(exists))
            case ["DROP", _]:
                _, start = _if_exists(rest, 2 if rest[1].word == "CONSTRAINT" else 1)
                self._drop_constraint(table, rest[start].value)
            case ["REBUILD", *_] | ["SET", *_] | ["CHECK", *_]:
                pass
            case _:
                raise NotImplementedError(f"the stand-in does not imitate {text(of)}")

    def _add_column(self, table: Table, of: Tokens) -> Table:
        definition = self._definition(of, table)
        column = definition.column
        _refuse_twice(table.name, [*(known.name for known in table.columns), column.name])
        filled = definition.default is not None and (definition.with_values or not column.nullable)
        if not column.nullable and not filled and self._has_rows(table):
            raise errors.raised(
                4901, "ALTER TABLE only allows columns to be added that can contain nulls, or have a DEFAULT "
                "definition specified, or the column being added is an identity or timestamp column, or alternatively "
                "if none of the previous conditions are satisfied the table must be empty to allow addition of this "
                "column. "
                f"Column '{column.name}' cannot be added to non-empty table '{table.name}' because it does not satisfy "
                "these conditions.",
            )  # fmt: skip
        default = f" DEFAULT {definition.default}" if filled else ""
        self._do(f"ALTER TABLE {table.quoted} ADD COLUMN {quoted(column.name)} {column.type.duckdb}{default}")
        if definition.default is not None and not filled:
            self._do(f"ALTER TABLE {table.quoted} ALTER COLUMN {quoted(column.name)} SET DEFAULT {definition.default}")
        if not column.nullable:
            self._do(f"ALTER TABLE {table.quoted} ALTER COLUMN {quoted(column.name)} SET NOT NULL")
        catalog.remember_type(self._connection, table, column)
        defaults = {**table.defaults, **({definition.constraint: column.name} if definition.constraint else {})}
        grown = replace(table, columns=(*table.columns, column), defaults=defaults)
        catalog.remember(self._connection, grown)
        return grown

    def _alter_column(self, table: Table, of: Tokens) -> None:
        """As on SQL Server a column without NOT NULL becomes nullable, and text without COLLATE the database's."""
        definition = self._definition(of, table)
        old, new = table.column(definition.column.name), replace(definition.column, name=of[0].value)
        self._refuse_dependents(table, old, new.type, "ALTER TABLE ALTER COLUMN")
        place = f"ALTER TABLE {table.quoted} ALTER COLUMN {quoted(old.name)}"
        if new.type.is_text and old.type.is_text and 0 < (new.type.length or 0) != old.type.length:
            checked = translate.fitted(quoted(old.name), table, replace(old, type=new.type))
            self._do(f"SELECT count({checked}) FROM {table.quoted}")
        if not old.nullable and new.nullable:
            self._do(f"{place} DROP NOT NULL")
        if new.type.duckdb != old.type.duckdb:
            self._do(f"{place} TYPE {new.type.duckdb}")
        if old.nullable and not new.nullable:
            self._do(f"{place} SET NOT NULL")
        catalog.remember_type(self._connection, table, replace(new, name=old.name))

    def _refuse_dependents(self, table: Table, column: Column, new: Type | None, statement: str) -> None:
        """What hangs on a column keeps it from changing; an index lets it only grow within its family."""
        grows = new is not None and new.name == column.type.name and new.collation == column.type.collation
        by_default = [name for name, of in table.defaults.items() if of.lower() == column.name.lower()]
        by_index = [
            index.name
            for index in table.indexes
            if column.name.lower() in {key.lower() for key in (*index.keys, *index.include)}
            or (index.where and column.name.lower() in {t.value.lower() for t in _tokens(index.where)})
        ]
        blocked = [*(by_default if new is None or new.name != column.type.name else ()), *(() if grows else by_index)]
        if blocked:
            kind = "object" if blocked[0] in by_default else "index"
            raise errors.raised(
                5074, f"The {kind} '{blocked[0]}' is dependent on column '{column.name}'. {statement} {column.name} "
                "failed because one or more objects access this column.",
            )  # fmt: skip

    def _drop_column(self, table: Table, name: str, lenient: bool) -> Table:
        if lenient and name.lower() not in {column.name.lower() for column in table.columns}:
            return table
        column = table.column(name)
        self._refuse_dependents(table, column, None, "ALTER TABLE DROP COLUMN")
        self._do(f"ALTER TABLE {table.quoted} DROP COLUMN {quoted(name)}")
        return replace(table, columns=tuple(known for known in table.columns if known != column))

    # -- constraints and indexes

    def _add_constraint(self, table: Table, of: Tokens) -> None:
        """CONSTRAINT name DEFAULT value FOR column, or a key."""
        if of[2].word != "DEFAULT":
            grown = self._with_constraint(table, of)
            for key in grown.indexes[-1].keys if grown.indexes[-1].constraint else ():
                self._do(f"ALTER TABLE {table.quoted} ALTER COLUMN {quoted(key)} SET NOT NULL")
            _check_key(grown, grown.indexes[-1])
            check_keys(self._connection, grown)
            catalog.remember(self._connection, grown)
            return
        end = next(n for n, token in enumerate(of) if token.word == "FOR")
        column = of[end + 1].value
        value = translate.expression(of[3:end], self._world)
        self._do(f"ALTER TABLE {table.quoted} ALTER COLUMN {quoted(column)} SET DEFAULT {value}")
        catalog.remember(self._connection, replace(table, defaults={**table.defaults, of[1].value: column}))

    def _drop_constraint(self, table: Table, name: str) -> None:
        named = next((known for known in table.defaults if known.lower() == name.lower()), None)
        if named is not None:
            self._do(f"ALTER TABLE {table.quoted} ALTER COLUMN {quoted(table.defaults[named])} DROP DEFAULT")
            kept = {known: column for known, column in table.defaults.items() if known != named}
            catalog.remember(self._connection, replace(table, defaults=kept))
            return
        if name.lower() not in {index.name.lower() for index in table.indexes}:
            raise errors.raised(3728, f"'{name}' is not a constraint. Could not drop constraint. See previous errors.")
        catalog.remember(self._connection, catalog.without_index(table, name))

    def _with_constraint(self, table: Table, of: Tokens) -> Table:
        """[CONSTRAINT name] PRIMARY KEY | UNIQUE [CLUSTERED] (...), or INDEX name (...)."""
        named = of[0].word in ("CONSTRAINT", "INDEX")
        name = of[1].value if named else f"PK__{table.name}"
        words = [token.word for token in of]
        if "CHECK" in words[:3]:
            raise NotImplementedError("CHECK constraints are not imitated")
        opening = next(n for n, token in enumerate(of) if token.text == "(")
        index = Index(
            name=name,
            keys=_key_names(of[opening + 1 : closing(of, opening)]),
            unique="INDEX" not in words[:1] or "UNIQUE" in words[:opening],
            constraint="PRIMARY" in words[:3],
            clustered=("PRIMARY" in words[:3] and "NONCLUSTERED" not in words) or "CLUSTERED" in words,
        )
        return replace(table, indexes=(*table.indexes, index))

    def _create_index(self, of: Tokens, place: int) -> None:
        words = [token.word for token in of]
        at = words.index("INDEX")
        schema, name, opening = name_of(of, at + 3)
        table = self._known(schema, name)
        end = closing(of, opening)
        pieces = {piece[0].word: piece[1:] for piece in split(of[end + 1 :], "INCLUDE", "WHERE", "WITH", "ON")[1:]}
        index = Index(
            name=of[at + 1].value,
            keys=_key_names(of[opening + 1 : end]),
            include=_key_names(pieces.get("INCLUDE", ())[1:-1]),
            where=text(pieces["WHERE"]) if "WHERE" in pieces else None,
            unique="UNIQUE" in words[:at],
            clustered="CLUSTERED" in words[:at],
        )
        if index.name.lower() in {known.name.lower() for known in table.indexes}:
            raise errors.raised(
                1913, f"The operation failed because an index or statistics with name '{index.name}' already exists on "
                f"table '{schema}.{name}'.",
            )  # fmt: skip
        _check_key(table, index)
        for column in index.include:
            table.column(column)
        grown = replace(table, indexes=(*table.indexes, index))
        check_keys(self._connection, grown)
        catalog.remember(self._connection, grown)

    def _drop_index(self, of: Tokens, place: int) -> None:
        exists, place = _if_exists(of, place)
        schema, name, _ = name_of(of, place + 2)
        table = self._known(schema, name)
        if not exists and of[place].value.lower() not in {index.name.lower() for index in table.indexes}:
            raise errors.raised(
                3701, f"Cannot drop the index '{name}.{of[place].value}', because it does not exist or you do not have "
                "permission.",
            )  # fmt: skip
        catalog.remember(self._connection, catalog.without_index(table, of[place].value))

    # -- parts

    def _definition(self, of: Tokens, table: Table) -> _Definition:  # noqa: C901 - one case an option
        """name type[(...)] and its options in any order."""
        name, kind, place = of[0].value, of[1].value.lower(), 2
        if kind == "double" and of[2:3] and of[2].word == "PRECISION":
            kind, place = "double precision", 3
        arguments: Sequence[Token] = ()
        if place < len(of) and of[place].text == "(":
            end = closing(of, place)
            arguments, place = of[place + 1 : end], end + 1
        nullable, collation, default, constraint, key, with_values = True, None, None, None, None, False
        named: str | None = None
        while place < len(of):
            match of[place].word:
                case "COLLATE":
                    collation, place = of[place + 1].value, place + 2
                case "NULL":
                    place += 1
                case "NOT":
                    nullable, place = False, place + 2
                case "CONSTRAINT":
                    named, place = of[place + 1].value, place + 2
                case "DEFAULT":
                    end = _end_of_default(of, place + 1)
                    default = translate.expression(of[place + 1 : end], self._world)
                    constraint, place = named or f"DF__{table.name}__{name}", end
                case "WITH":
                    with_values, place = True, place + 2
                case "PRIMARY" | "UNIQUE":
                    primary = of[place].word == "PRIMARY"
                    place += 2 if primary else 1
                    clustered = primary
                    if place < len(of) and of[place].word in ("CLUSTERED", "NONCLUSTERED"):
                        clustered, place = of[place].word == "CLUSTERED", place + 1
                    key = Index(name=named or f"PK__{table.name}", keys=(name,), unique=True, constraint=primary,
                                clustered=clustered)  # fmt: skip
                    nullable = nullable and not primary
                case _:
                    raise NotImplementedError(f"the stand-in does not imitate {text(of[place:])} of a column")
        kept = Column(name=name, type=catalog.declared(kind, arguments, collation), nullable=nullable)
        return _Definition(column=kept, default=default, constraint=constraint, key=key, with_values=with_values)

    def _known(self, schema: str, name: str) -> Table:
        table = self._world.table(schema, name)
        if table is None:
            raise errors.raised(
                4902,
                f'Cannot find the object "{schema}.{name}" because it does not exist or you do not have permissions.',
            )
        return table

    def _schema(self, name: str) -> None:
        if self._world.function("SCHEMA_ID", [name]) == "NULL":
            raise errors.raised(
                2760,
                f'The specified schema name "{name}" either does not exist or you do not have permission to use it.',
            )

    def _has_rows(self, table: Table) -> bool:
        return bool(self._connection.execute(f"SELECT 1 FROM {table.quoted} LIMIT 1").fetchall())

    def _do(self, sql: str) -> None:
        self._connection.execute(sql)


_LATER = dict.fromkeys(("SYSUTCDATETIME", "GETUTCDATE", "SYSDATETIME"), "timezone('UTC', get_current_timestamp())")
"""Functions that a default or a view calls when it is used."""


def check_keys(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
    """Refuse rows that break a unique index, or have a key too long for an index."""
    for index in table.indexes:
        keys = [quoted(key) for key in index.keys]
        where = f" WHERE {_condition(index.where)}" if index.where else ""
        if index.unique:
            grouped = ", ".join(f"_k({key})" for key in keys)
            found = connection.execute(
                f"SELECT {', '.join(f'any_value({key})' for key in keys)} FROM {table.quoted}{where} "
                f"GROUP BY {grouped} HAVING count(*) > 1 LIMIT 1"
            ).fetchall()
            if found:
                shown = ", ".join("<NULL>" if value is None else str(value) for value in found[0])
                raise _twice(table, index, shown)
        if sum(table.column(key).type.key_bytes for key in index.keys) > _most(index):
            long = " + ".join(f"coalesce(_datalength({key}), 0)" for key in keys)
            worst = connection.execute(f"SELECT max({long}) FROM {table.quoted}{where}").fetchall()[0][0]
            if worst is not None and worst > _most(index):
                raise errors.raised(
                    1946, f"Operation failed. The index entry of length {worst} bytes for the index '{index.name}' "
                    f"exceeds the maximum length of {_most(index)} bytes for {'' if index.clustered else 'non'}"
                    "clustered indexes.",
                )  # fmt: skip


def _twice(table: Table, index: Index, shown: str) -> errors.Error:
    if index.constraint:
        return errors.raised(
            2627, f"Violation of PRIMARY KEY constraint '{index.name}'. Cannot insert duplicate key in object "
            f"'{table.schema}.{table.name}'. The duplicate key value is ({shown}).",
        )  # fmt: skip
    return errors.raised(
        2601, f"Cannot insert duplicate key row in object '{table.schema}.{table.name}' with unique index "
        f"'{index.name}'. The duplicate key value is ({shown}).",
    )  # fmt: skip


def _condition(where: str) -> str:
    nothing = World(variables={}, table=lambda *_: None, function=lambda *_: None)
    return translate.expression(_tokens(f"CASE WHEN {where} THEN 1 ELSE 0 END = 1"), nothing)


def _tokens(sql: str) -> Tokens:
    from tests.standins.tsql.script import tokens

    return tokens(sql)


def _most(index: Index) -> int:
    return 900 if index.clustered else KEY_BYTES


def _check_key(table: Table, index: Index) -> None:
    if len(index.keys) > 32:
        raise errors.raised(1904, f"The index '{index.name}' has {len(index.keys)} columns; the maximum is 32.")
    for key in index.keys:
        if table.column(key).type.length == -1:
            raise errors.raised(
                1919, f"Column '{key}' in table '{table.schema}.{table.name}' is of a type that is invalid for use as "
                "a key column in an index.",
            )  # fmt: skip


def _key_names(of: Tokens) -> tuple[str, ...]:
    return tuple(part[0].value for part in split(of, ",") if part)


def _described(definition: _Definition) -> str:
    column = definition.column
    default = "" if definition.default is None else f" DEFAULT {definition.default}"
    return f"{quoted(column.name)} {column.type.duckdb}{'' if column.nullable else ' NOT NULL'}{default}"


def _refuse_twice(table: str, names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name.lower() in seen:
            raise errors.raised(
                2705, f"Column names in each table must be unique. Column name '{name}' in table '{table}' is "
                "specified more than once.",
            )  # fmt: skip
        seen.add(name.lower())
        if len(name) > 128:
            raise errors.raised(
                103, f"The identifier that starts with '{name[:128]}' is too long. Maximum length is 128."
            )


_OPTIONS = {"NULL", "NOT", "CONSTRAINT", "WITH", "PRIMARY", "UNIQUE", "COLLATE", "CHECK", "REFERENCES"}


def _end_of_default(of: Tokens, place: int) -> int:
    """A default is one value: maybe a sign, then a literal, a call or something in parentheses."""
    place += of[place].text in "+-"
    if of[place].text == "(":
        return closing(of, place) + 1
    place += 1
    if place < len(of) and of[place].text == "(":
        return closing(of, place) + 1
    return place


def _if_exists(of: Tokens, place: int) -> tuple[str, int]:
    return ("IF EXISTS ", place + 2) if of[place].word == "IF" else ("", place)
