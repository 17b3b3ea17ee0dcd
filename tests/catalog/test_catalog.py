"""What the catalog declares, and how a wrong entry is refused."""

from __future__ import annotations

import tomllib

from pathlib import Path

import pytest

from shared.catalog import PACKAGED, System, read
from shared.errors import ConfigError
from shared.model import Feed
from shared.pipeline.relations import in_order
from shared.sources import KINDS

HEAD = '[system]\nname = "crm"\nsource = "exports"\n'
TEXT = HEAD.replace("exports", "csv")
RULE = HEAD + '[defaults]\ncursor = "ModifiedOn"\ndeleted = "IsDeleted"\n[undeclared]\nkeys = ["{table}Id"]\n'


def system(folder: Path, content: str) -> System:
    (folder / "crm.toml").write_text(content, encoding="utf-8")
    return read(folder)["crm"]


def test_the_packaged_catalog_declares_the_five_tables_of_coolr():
    """Each with its key, cursor, flag and the types that differ from the files'."""
    feeds = {feed.table: feed for feed in read(PACKAGED)["coolr"].feeds()}

    assert {
        "location": ("LocationId",),
        "asset": ("AssetId",),
        "product": ("ProductId",),
        "order": ("OrderId",),
        "orderitem": ("OrderItemId",),
    } == {table: feed.keys for table, feed in feeds.items()}
    assert {("ModifiedOn", "IsDeleted")} == {(feed.cursor, feed.deleted) for feed in feeds.values()}
    assert {"coolr.order"} <= {feed.name for feed in feeds.values()}
    assert {"timestamp"} == {kind for feed in feeds.values() for kind in feed.types.values()}


def test_every_packaged_catalog_can_be_read():
    """What ships loads, each file as one system."""
    assert len(list(PACKAGED.glob("*.toml"))) == len(read(PACKAGED))


KEYS = "keys must be a list of column names, each once, not "
TYPES = "types must be a table of columns, each once, with their types (boolean, smallint, "
REFERENCES = "references must be a table of columns, each once, with the key of a feed that they refer to, as <system>"
NAME = "crm.toml, system: name must be a text that can name a schema: "
WRONG = {
    "not TOML": ("[system", "crm.toml is not TOML: "),
    "unknown section": (
        HEAD + "[table]\n",
        "crm.toml, file: 'table' is unknown; known are defaults, discover, feed_list, system, tab",
    ),
    "no system": ("[tables]\n", "crm.toml, file: system must be a table, not None"),
    "system no table": ("system = 1", "crm.toml, file: system must be a table, not 1"),
    "unknown cleaner": (
        HEAD + '[tables.t]\nkeys = ["a"]\ncolumns = { a = { cleaner = "fone" } }',
        "column 'a': cleaner must be one of text, phone, email, date, timestamp, time, amount, integer, boolean, zip, ",
    ),
    "cleaner of another type": (
        HEAD + '[tables.t]\nkeys = ["a"]\ncolumns = { a = { cleaner = "amount", type = "bigint" } }',
        "feed crm.t: column 'a': cleaner 'amount' makes decimal(p,s) or double, not bigint",
    ),
    "cleaner without its type": (
        HEAD + '[tables.t]\nkeys = ["a"]\ncolumns = { a = { cleaner = "date" } }',
        "feed crm.t: column 'a': cleaner 'date' makes date, not text",
    ),
    "unknown in system": (
        HEAD + "colour = 1",
        "crm.toml, system: 'colour' is unknown; known are client, name, ",
    ),
    "no name": ('[system]\nsource = "exports"', NAME),
    "name no text": ('[system]\nname = 1\nsource = "exports"', NAME),
    "name no schema": ('[system]\nname = "a.b"\nsource = "exports"', NAME),
    "name upper case": ('[system]\nname = "CRM"\nsource = "exports"', NAME),
    "name reserved": (
        '[system]\nname = "ingest"\nsource = "exports"',
        "and none of information_schema, ingest, temp, not",
    ),
    "no source": (
        '[system]\nname = "crm"',
        "system: source must be one of exports, csv, sql, rest, odata, hubspot, not None",
    ),
    "unknown source": (
        '[system]\nname = "crm"\nsource = "fax"',
        "source must be one of exports, csv, sql, rest, odata, hubspot, not 'fax'",
    ),
    "client no text": (HEAD + "client = 7", "client must be a text, not 7"),
    "tables no table": ("tables = 1\n" + HEAD, "tables must be a table, not 1"),
    "feed no table": (HEAD + "[tables]\na = 1", "crm.toml, feed crm.a must be a table, not 1"),
    "unknown option": (
        HEAD + '[tables]\na = { key = ["Id"] }',
        "crm.toml, feed crm.a: 'key' is unknown; known are",
    ),
    "no keys": (HEAD + '[tables]\na = { cursor = "M" }', "crm.toml, feed crm.a: it has no keys"),
    "empty keys": (HEAD + "[tables]\na = { keys = [] }", f"feed crm.a: {KEYS}[]"),
    "keys no list": (HEAD + '[tables]\na = { keys = "Id" }', f"{KEYS}'Id'"),
    "key no text": (HEAD + "[tables]\na = { keys = [1] }", f"{KEYS}[1]"),
    "key empty": (HEAD + '[tables]\na = { keys = [""] }', f"{KEYS}['']"),
    "key twice": (HEAD + '[tables]\na = { keys = ["Id", "ID"] }', f"{KEYS}['Id', 'ID']"),
    "key with braces": (
        HEAD + '[undeclared]\nkeys = ["{x}Id"]',
        "undeclared: key '{x}Id' has braces that are not {table}: write {{ and }}",
    ),
    "key with a brace": (
        HEAD + '[undeclared]\nkeys = ["{Id"]',
        "undeclared: key '{Id' has braces that are not {table}: write {{ and }}",
    ),
    "cursor true": (HEAD + '[tables]\na = { keys = ["Id"], cursor = true }', "cursor must be a column name, or false"),
    "cursor zero": (HEAD + '[tables]\na = { keys = ["Id"], cursor = 0 }', "cursor must be a column name, or false"),
    "cursor empty": (HEAD + '[tables]\na = { keys = ["Id"], cursor = "" }', "cursor must be a column name, or false"),
    "deleted a number": (HEAD + '[tables]\na = { keys = ["Id"], deleted = 1 }', "deleted must be a column name, or"),
    "flag is key": (HEAD + '[tables]\na = { keys = ["Id"], deleted = "ID" }', "'ID' cannot be the deletion flag and"),
    "types no table": (HEAD + '[tables]\na = { keys = ["Id"], types = 1 }', TYPES),
    "unknown type": (HEAD + '[tables]\na = { keys = ["Id"], types = { A = "money" } }', "not {'A': 'money'}"),
    "type no text": (HEAD + '[tables]\na = { keys = ["Id"], types = { A = 5 } }', "not {'A': 5}"),
    "decimal of 39": (HEAD + '[tables]\na = { keys = ["Id"], types = { A = "decimal(39,0)" } }', "'decimal(39,0)'"),
    "type twice": (HEAD + '[tables]\na = { keys = ["Id"], types = { A = "date", a = "text" } }', TYPES),
    "references no table": (HEAD + '[tables]\na = { keys = ["Id"], references = 1 }', REFERENCES),
    "reference without column": (HEAD + '[tables]\na = { keys = ["Id"], references = { U = "crm.b" } }', REFERENCES),
    "reference with a gap": (HEAD + '[tables]\na = { keys = ["Id"], references = { U = "crm..b" } }', REFERENCES),
    "reference twice": (
        HEAD + '[tables]\na = { keys = ["Id"], references = { U = "crm.b.Id", u = "crm.c.Id" } }',
        REFERENCES,
    ),
    "reference of no column": (
        TEXT + '[tables.t]\nkeys = ["a"]\ncolumns = { a = {} }\nreferences = { b = "crm.u.Id" }',
        "feed crm.t: 'b' is no column under columns",
    ),
    "cursor type": (
        HEAD + '[tables]\na = { keys = ["Id"], cursor = "M", types = { m = "binary" } }',
        "feed crm.a: cursor 'M' has type binary, which cannot be ordered",
    ),
    "timezone": (
        HEAD + '[tables]\na = { keys = ["Id"], timezone = "Mars" }',
        "timezone must be an IANA name such as Europe",
    ),
    "a key that is excluded": (
        HEAD + '[tables]\na = { keys = ["Id"], exclude = ["ID", "B"] }',
        "'Id' cannot be excluded",
    ),
    "what to do with a new column": (
        HEAD + '[tables]\na = { keys = ["Id"], on_new_column = "drop" }',
        "on_new_column must be 'add', 'ignore' or 'stop', not 'drop'",
    ),
    "history without rows that are gone": (
        HEAD + '[tables]\na = { keys = ["Id"], deletes = "hard", history = true }',
        "history keeps deleted rows",
    ),
    "history under a long name": (
        HEAD + f'[tables]\n{"a" * 55} = {{ keys = ["Id"], history = true }}',
        "a name of at most 54 bytes",
    ),
    "deletes": (HEAD + '[tables]\na = { keys = ["Id"], deletes = "no" }', "deletes must be 'soft' or 'hard', not 'no'"),
    "share above 1": (
        HEAD + '[tables]\na = { keys = ["Id"], max_reject_share = 1.1 }',
        "a number from 0 to 1, not 1.1",
    ),
    "share below 0": (HEAD + '[tables]\na = { keys = ["Id"], max_delete_share = -1 }', "a number from 0 to 1, not -1"),
    "share true": (HEAD + '[tables]\na = { keys = ["Id"], max_delete_share = true }', "a number from 0 to 1, not True"),
    "share nan": (HEAD + '[tables]\na = { keys = ["Id"], max_delete_share = nan }', "a number from 0 to 1, not nan"),
    "overlap": (HEAD + '[tables]\na = { keys = ["Id"], overlap_seconds = 1.5 }', "a whole number of seconds, not 1.5"),
    "overlap below 0": (
        HEAD + '[tables]\na = { keys = ["Id"], overlap_seconds = -1 }',
        "whole number of seconds, not -1",
    ),
    "schedule": (HEAD + '[tables]\na = { keys = ["Id"], schedule = "daily" }', "such as '*/15 * * * *', not 'daily'"),
    "reconcile": (HEAD + '[tables]\na = { keys = ["Id"], reconcile = "weekly" }', "such as '0 3 * * 0', not 'weekly'"),
    "age zero": (
        HEAD + '[tables]\na = { keys = ["Id"], max_age_hours = 0 }',
        "hours above 0, or false for none, not 0",
    ),
    "discover no list": (
        HEAD + '[discover]\ninclude = "dbo.*"',
        "discover: include must be a list of patterns, such as",
    ),
    "discover nothing": (HEAD + "[discover]\ninclude = []", "discover: include must be a list of patterns, such as"),
    "discover unknown": (
        HEAD + "[discover]\ntables = []",
        "crm.toml, discover: 'tables' is unknown; known are cursors,",
    ),
    "list from nowhere": (
        HEAD + '[feed_list]\ntable = "a.b"',
        "feed_list: from must be 'source' or 'warehouse', not None",
    ),
    "list without table": (
        HEAD + '[feed_list]\nfrom = "source"',
        "feed_list: table must be the name of a table, as <table>",
    ),
    "list without schema": (
        HEAD + '[feed_list]\nfrom = "warehouse"\ntable = "a"',
        "feed_list: table must be <schema>.<table> in the warehouse, not 'a'",
    ),
    "list of other columns": (
        HEAD + '[feed_list]\nfrom = "source"\ntable = "a"\ncolumns = { watermark = "W" }',
        "feed_list: columns must be a table with the columns of schema, table, keys, cursor, last_value, enabled, not",
    ),
    "wrong default of a source": (HEAD + "[defaults.sql]\nkeys = 1", f"crm.toml, defaults.sql: {KEYS}1"),
    "source_table": (
        HEAD + '[tables]\na = { keys = ["Id"], source_table = "dbo." }',
        "source_table must be the name of a table, as <table> or <schema>.<table>, not 'dbo.'",
    ),
    "wrong default": (HEAD + '[defaults]\ndeletes = "no"', "crm.toml, defaults: deletes must be"),
    "wrong rule": (HEAD + '[undeclared]\ncursor = "M"', "crm.toml, undeclared: it has no keys"),
    "table _active": (
        HEAD + '[tables]\na_active = { keys = ["Id"] }',
        "feed crm.a_active: 'a_active' is named like the view",
    ),
    "table too long": (HEAD + f'[tables]\n{"a" * 57} = {{ keys = ["Id"] }}', "(57 bytes) cannot name a table"),
    "table empty": (HEAD + '[tables]\n" " = { keys = ["Id"] }', "' ' (1 bytes) cannot name a table"),
    "table with NUL": (HEAD + '[tables]\n"a\\u0000" = { keys = ["Id"] }', "'a\\x00' (2 bytes) cannot name a table"),
    "table upper case": (HEAD + '[tables]\nA = { keys = ["Id"] }', "feed crm.A: write the table's name in lower case"),
}


@pytest.mark.parametrize(("content", "reason"), WRONG.values(), ids=WRONG)
def test_a_wrong_entry_is_refused_with_file_feed_and_reason(tmp_path, content, reason):
    """At load, in one line."""
    with pytest.raises(ConfigError) as refused:
        system(tmp_path, content)

    assert reason in str(refused.value)
    assert str(refused.value).startswith("crm.toml")
    assert 1 == len(str(refused.value).splitlines())


def test_everything_that_is_wrong_is_reported_at_once(tmp_path):
    """A file is corrected in one pass; a value that is wrong in two ways is reported once."""
    with pytest.raises(ConfigError) as refused:
        system(
            tmp_path,
            '[system]\nname = "A"\nsource = "fax"\n[defaults]\ndeletes = "no"\n'
            "[tables]\na = { keys = [1, 2], colour = 1 }\nb = 1\n",
        )

    problems = refused.value.problem.split("; ")
    entries = [
        "system: name",
        "system: source",
        "defaults: deletes",
        "feed A.a: keys",
        "feed A.a: 'colour'",
        "feed A.b",
    ]
    assert [True] * 6 == [any(entry in problem for problem in problems) for entry in entries]
    assert 1 == str(refused.value).count("keys must be")


def test_feeds_that_do_not_hold_together_are_reported_at_once(tmp_path):
    """Which shows only when the defaults are added."""
    with pytest.raises(
        ConfigError, match=r"^crm\.toml, feed crm\.a: it has no keys \(line 5\); feed crm\.B: write the table's name"
    ):
        system(tmp_path, HEAD + '[tables]\na = { cursor = "M" }\nB = { keys = ["Id"] }\n')


def test_bytes_that_are_not_utf8_are_refused_with_the_file(tmp_path):
    """A catalog saved in Latin-1 is refused like any other that is not TOML."""
    (tmp_path / "crm.toml").write_bytes(b'[system]\nname = "caf\xe9"')

    with pytest.raises(ConfigError, match=r"^crm\.toml is not TOML: "):
        read(tmp_path)


def test_a_system_in_two_files_is_refused_with_both(tmp_path):
    """There is no telling which of them counts."""
    for name in ("one", "two"):
        (tmp_path / f"{name}.toml").write_text(HEAD)

    with pytest.raises(ConfigError, match=r"two\.toml: system 'crm' is in one\.toml too"):
        read(tmp_path)


def test_a_folder_without_catalog_is_refused(tmp_path):
    """CATALOG_PATH must be wrong."""
    with pytest.raises(ConfigError, match=r"there is no catalog file in .*CATALOG_PATH"):
        read(tmp_path)


def test_a_table_takes_the_defaults_and_overrides_them(tmp_path):
    """Its own line wins; types are put together column by column; false undoes a default."""
    found = system(
        tmp_path,
        HEAD
        + '[defaults]\ncursor = "M"\ndeleted = "D"\ntypes = { M = "timestamp", A = "text" }\nmax_reject_share = 0.5\n'
        + '[tables]\na = { keys = ["Id"], cursor = false, deleted = false,'
        + ' types = { a2 = "date", A = " Decimal( 5, 2 ) " }, deletes = "hard", timezone = "Europe/Amsterdam",'
        + " max_delete_share = 1, overlap_seconds = 60 }\n",
    ).feed("a", [])

    assert (
        Feed(
            system="crm",
            table="a",
            source="exports",
            keys=("Id",),
            types={"M": "timestamp", "A": "decimal(5,2)", "a2": "date"},
            timezone="Europe/Amsterdam",
            deletes="hard",
            max_reject_share=0.5,
            max_delete_share=1.0,
            overlap_seconds=60,
        )
        == found
    )


def test_tables_of_a_source_have_defaults_of_their_own(tmp_path):
    """They go before those of all tables, and a table's own before both."""
    found = system(
        tmp_path,
        HEAD
        + '[defaults]\ncursor = false\nmax_reject_share = 0.5\ntypes = { A = "date", B = "date" }\n'
        + '[defaults.sql]\ncursor = "At"\nschedule = "0 * * * *"\ntypes = { B = "text" }\n'
        + '[tables]\na = { keys = ["Id"] }\n'
        + 'b = { keys = ["Id"], source = "sql", source_table = "dbo.B", schedule = "5 * * * *" }\n',
    )
    a, b = found.feeds()

    assert ("exports", None, None, {"A": "date", "B": "date"}) == (a.source, a.cursor, a.schedule, a.types)
    assert ("sql", "At", "5 * * * *", {"A": "date", "B": "text"}) == (b.source, b.cursor, b.schedule, b.types)
    assert (0.5, 0.5, "dbo.B") == (a.max_reject_share, b.max_reject_share, b.source_table)


def test_the_tables_of_genius_are_read_by_updated_at_or_whole():
    """In an order in which every reference leads back; what is read whole is read once a day."""
    genius = read(PACKAGED)["genius"]
    feeds = [feed for feed in genius.feeds() if genius.is_pulled(feed.table)]
    order = [feed.table for level in in_order(feeds) for feed in level]

    assert {("updated_at", "*/15 * * * *"), (None, "0 5 * * *")} == {(feed.cursor, feed.schedule) for feed in feeds}
    assert {
        "user_data": ("user_id",),
        "lead": ("lead_id",),
        "appointment_service": ("appointment_id", "service_id"),
    } == {feed.table: feed.keys for feed in feeds if feed.table in ("user_data", "lead", "appointment_service")}
    assert {600} == {feed.overlap_seconds for feed in feeds if feed.cursor}
    assert order.index("division") < order.index("user_data") < order.index("prospect") < order.index("appointment")
    assert order.index("appointment") < order.index("quote")


def test_references_are_declared_for_a_table_its_columns_and_all_tables(tmp_path):
    """The table's own win."""
    found = system(
        tmp_path,
        TEXT
        + '[defaults]\nreferences = { a = "crm.x.id", b = "crm.x.id" }\n'
        + '[tables.t]\nkeys = ["a"]\nreferences = { b = "crm.y.id" }\n'
        + 'columns = { a = {}, b = {}, c = { references = "crm.z.id" }, d = {} }\n',
    ).feed("t", [])

    assert {"a": "crm.x.id", "b": "crm.y.id", "c": "crm.z.id"} == found.references


def test_an_undeclared_table_is_taken_by_the_rule_without_regard_to_case(tmp_path):
    """The key is spelled as the file spells it."""
    found = system(tmp_path, RULE).feed("outlet", ["outletID", "MODIFIEDON", "isdeleted", "Name"])

    assert (("outletID",), "ModifiedOn", "IsDeleted") == (found.keys, found.cursor, found.deleted)


@pytest.mark.parametrize("key", ["{Id}", "{", "}}", "{table}Id", "{0}", "{}"])
def test_a_declared_key_may_have_braces(tmp_path, key):
    """The names of a declared table are taken as they are; the line to add is one of them."""
    declared = system(tmp_path, HEAD + f'[tables]\na = {{ keys = ["{key}"] }}').feed("a", [key])
    with pytest.raises(ConfigError) as refused:
        system(tmp_path, RULE).feed("outlet", [key])
    line = refused.value.fix.partition("there: ")[2]

    assert ((key,), (key,)) == (declared.keys, system(tmp_path, f"{RULE}[tables]\n{line}\n").feed("outlet", [key]).keys)


def test_the_rule_escapes_braces_by_doubling_them(tmp_path):
    """There {table} is the table's name."""
    found = system(tmp_path, RULE.replace("{table}Id", "{{{table}}}")).feed("a", ["{A}", "ModifiedOn", "IsDeleted"])

    assert ("{A}",) == found.keys


@pytest.mark.parametrize("missing", ["OutletId", "ModifiedOn", "IsDeleted"])
def test_an_undeclared_table_that_lacks_a_column_shows_the_line_to_add(tmp_path, missing):
    """The line is TOML, loads as it is, and undoes the defaults the table cannot keep."""
    names = [name for name in ("OutletId", "ModifiedOn", "IsDeleted") if name != missing]

    with pytest.raises(ConfigError, match=r"table 'outlet' is not in crm\.toml") as refused:
        system(tmp_path, RULE).feed("outlet", names)

    line = refused.value.fix.partition("there: ")[2]
    feed = system(tmp_path, f"{RULE}[tables]\n{line}\n").feed("outlet", names)
    assert {*feed.keys, feed.cursor, feed.deleted} - {None} <= set(names)


@pytest.mark.parametrize("name", ['x"]; DROP TABLE y; --', "🧊", "a\nb", "a\x7fb", "a\\b", "tab\t"])
def test_the_line_to_add_is_toml_whatever_the_names_are(tmp_path, name):
    """Names of tables and columns come from files: the line quotes them, on one line."""
    with pytest.raises(ConfigError) as refused:
        system(tmp_path, RULE).feed(name, [f"{name}-id"])

    line = refused.value.fix.partition("there: ")[2]
    assert {name: {"keys": [f"{name}-id"], "cursor": False, "deleted": False}} == tomllib.loads(line)
    assert 1 == len(str(refused.value).splitlines())


def test_without_a_rule_no_undeclared_table_is_taken(tmp_path):
    """A system may wish to name all its tables."""
    with pytest.raises(ConfigError, match=r"table 'outlet' is not in crm\.toml"):
        system(tmp_path, HEAD).feed("outlet", ["outletId", "ModifiedOn", "IsDeleted"])


@pytest.mark.parametrize("name", ["", " ", "a\0b", "x" * 57, "é" * 29, "thing_active", "THING_ACTIVE"])
def test_a_table_name_that_cannot_be_stored_is_refused(tmp_path, name):
    """It must leave room for `_active` in 63 bytes, and must not be a view's name."""
    with pytest.raises(ConfigError):
        system(tmp_path, RULE).feed(name, [f"{name}Id", "ModifiedOn", "IsDeleted"])


def test_a_table_name_of_56_bytes_is_taken(tmp_path):
    """63 less the seven of `_active`."""
    assert "x" * 56 == system(tmp_path, RULE).feed("x" * 56, ["x" * 56 + "Id", "ModifiedOn", "IsDeleted"]).table


def test_settings_override_the_file(tmp_path):
    """Client and time zone of a system, also for undeclared tables."""
    found = system(tmp_path, RULE + '[tables]\na = { keys = ["Id"], timezone = "Europe/Paris" }\n')

    changed = found.with_settings("Acme", "Europe/Amsterdam")

    assert "Acme" == changed.client
    assert "Europe/Amsterdam" == changed.feed("a", []).timezone
    assert "Europe/Amsterdam" == changed.feed("b", ["bId", "ModifiedOn", "IsDeleted"]).timezone
    assert "Europe/Paris" == found.with_settings(None, None).feed("a", []).timezone


def test_a_setting_with_an_unknown_time_zone_is_refused(tmp_path):
    """As in the file."""
    with pytest.raises(ConfigError, match="there is no time zone 'Mars'"):
        system(tmp_path, RULE).with_settings(None, "Mars")


def test_an_unknown_source_is_refused_with_the_known_ones(tmp_path):
    """The table of kinds is the list."""
    with pytest.raises(ConfigError, match=", ".join(KINDS)):
        system(tmp_path, '[system]\nname = "crm"\nsource = "fax"')


def test_a_table_is_pulled_or_loaded_from_files_as_its_source_says(tmp_path):
    """That of its system, unless it has one of its own."""
    exports = system(tmp_path, HEAD)
    zips = '[tables.zips]\nkeys = ["zip"]\nsource = "csv"\ncolumns = { zip = {} }\n'
    sql = system(tmp_path, HEAD.replace("exports", "sql") + zips)

    assert (False, True, False) == (exports.is_pulled("x"), sql.is_pulled("x"), sql.is_pulled("zips"))


@pytest.mark.parametrize(
    ("source", "columns", "reason"),
    [
        ("csv", "", "source 'csv' needs columns"),
        ("exports", "columns = { Id = {} }", "source 'exports' takes no columns: declare types instead"),
    ],
)
def test_columns_are_for_text_files_which_need_them(tmp_path, source, columns, reason):
    head = HEAD.replace("exports", "sql")
    with pytest.raises(ConfigError) as refused:
        system(tmp_path, f'{head}[tables.x]\nkeys = ["Id"]\nsource = "{source}"\n{columns}\n')

    assert reason in str(refused.value)
