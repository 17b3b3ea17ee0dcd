"""A database like that of Genius CRM, made up, with every trap that MySQL databases have.

Tables and columns are those of the catalog. Among the values are zero dates, times beyond a day, bytes that are
no text, thousands of rows of one instant, change stamps that are NULL, rows that refer to nothing, and names in all
scripts.
"""

from __future__ import annotations

import datetime as dt

from typing import Any, TypeAlias

Cursor: TypeAlias = Any
"""Of pymysql, with autocommit."""

FULL_SIZE = 200_000
"""Prospects that a test of size asks for."""
NEWEST = dt.datetime(2026, 6, 30, 23, 59, 59)  # noqa: DTZ001 - as the database writes it
"""No change stamp is later."""

_STAMP = "TIMESTAMPADD(SECOND, -((seq * 7919) % 31536000), '{newest}')"
_STAMPS = {"created_at": ("datetime", "'2020-01-01 00:00:00'"), "updated_at": ("datetime", _STAMP)}
_LABEL = {"label": ("varchar(80)", "CONCAT('{table} ', seq)"), "is_active": ("tinyint(1)", "seq % 5 > 0")}
_USER = "1 + seq % {users}"
_FIRST = "ELT(1 + seq % 6, 'Mary', 'José', 'Łukasz', 'Zoë', '美咲', 'O''Neil \\\\ \"Pat\" 😀')"
_PLACE = {
    "address1": ("varchar(120)", "CONCAT(seq, ' Main St\\nUnit ', seq % 9)"),
    "address2": ("varchar(120)", "IF(seq % 3, '', NULL)"),
    "city": ("varchar(60)", "ELT(1 + seq % 3, 'Boston', 'São Paulo', ' Köln ')"),
    "state": ("char(2)", "'MA'"),
    "zip": ("varchar(10)", "LPAD(seq % 99999, 5, '0')"),
    "email": ("varchar(120)", "CONCAT('person', seq, '@example.com')"),
    "notes": ("text", "IF(seq % 50, NULL, REPEAT('a note, \"quoted\"\\t', 20))"),
}
_ADDED = {"add_user_id": ("int unsigned", _USER), "add_date": ("datetime(6)", _STAMP)}

_Columns: TypeAlias = "dict[str, tuple[str, str]]"

_TABLES: dict[str, tuple[str, str, _Columns]] = {
    # name: (rows, key, columns: type and value of row number seq)
    "division_group": ("5", "id", {
        "group_label": ("varchar(80)", "CONCAT('group ', seq)"), "region": ("varchar(20)", "'East'"),
        "default_time_zone_name": ("varchar(40)", "'America/New_York'"), "settings": ("json", "'{{\"a\": [1, null]}}'"),
        **_STAMPS,
    }),
    "division_region": ("4", "id", {
        "name": ("varchar(40)", "CONCAT('region ', seq)"), "is_active": ("bit(1)", "b'1'"),
    }),
    "division": ("20", "id", {
        "group_id": ("int", "1 + seq % 5"), "region_id": ("int", "1 + seq % 4"), **_LABEL,
        "abbreviation": ("char(4)", "CONCAT('D', seq)"), "is_utility": ("tinyint(1)", "0"),
        "is_corp": ("tinyint(1)", "1"), "is_omniscient": ("tinyint(1)", "NULL"), "is_inactive": ("tinyint(1)", "2"),
        "account_scheduler_id": ("bigint unsigned", "18446744073709551615"), **_STAMPS,
    }),
    "user_title": ("10", "id", {
        "title": ("varchar(40)", "CONCAT('title ', seq)"), "abbreviation": ("varchar(8)", "'T'"),
        "roles": ("set('sales','admin','other')", "ELT(1 + seq % 3, 'sales', 'sales,admin', '')"),
        "type_id": ("smallint", "-1"), "section_id": ("mediumint", "seq"), "sort": ("double", "seq / 3"),
    }),
    "user_data": ("{users}", "user_id", {
        "division_id": ("int", "1 + seq % 20"), "title_id": ("int", "1 + seq % 10"),
        "manager_user_id": ("int", "IF(seq % 40 = 0, 999999, 1 + seq % 7)"), "primary_user_id": ("int", "NULL"),
        "first_name": ("varchar(60)", _FIRST), "first_name_alt": ("varchar(60)", "NULL"),
        "last_name": ("varchar(60)", "CONCAT('Last ', seq)"), "email": ("varchar(120)",
        "CONCAT('u', seq, '@x.example')"),
        "personal_email": ("varchar(120)", "''"),
        "birth_date": ("date", "IF(seq % 10, '1980-02-29', '0000-00-00')"),
        "gender_id": ("tinyint unsigned", "seq % 3"), "marital_status_id": ("tinyint", "NULL"),
        "time_zone_name": ("varchar(40)", "'America/Chicago'"), "hired_on": ("date", "'2020-05-01'"),
        "start_date": ("date", "'2020-00-00'"), "add_user_id": ("int", "1"), "add_datetime": ("datetime", _STAMP),
        "is_inactive": ("tinyint(1)", "seq % 2"), "inactive_on": ("date", "NULL"), "inactive_reason_id": ("int",
        "NULL"),
        **_STAMPS,
    }),
    "marketing_source_type": ("6", "id", {
        **_LABEL, "description": ("text", "NULL"), "list_order": ("int", "seq"), **_STAMPS,
    }),
    "marketing_source": ("60", "id", {
        "type_id": ("int", "1 + seq % 6"), **_LABEL, "description": ("longtext", "''"), "start_date": ("date", "NULL"),
        "end_date": ("date", "'9999-12-31'"), "is_allow_lead_modification": ("tinyint(1)", "1"), **_ADDED, **_STAMPS,
    }),
    "marketsharp_sources": ("30", "id", {"name": ("varchar(60)", "CONCAT('ms ', seq)")}),
    "marketsharp_marketing_source_map": ("30", "marketsharp_id", {"marketing_source_id": ("int", "1 + seq % 70")}),
    "third_party_source_type": ("2", "id", {"label": ("varchar(40)", "ELT(seq, 'hubspot', 'other')")}),
    "third_party_source": ("{prospects} / 2", "id", {
        "type_id": ("int", "1 + seq % 2"), "third_party_id": ("varchar(40)", "CONCAT('hs-', seq)"),
    }),
    "service": ("12", "id", {
        **_LABEL, "is_lead_required": ("tinyint(1)", "0"), "order_number": ("int", "seq"), **_STAMPS,
    }),
    "prospect": ("{prospects}", "id", {
        "division_id": ("int", "1 + seq % 20"), "user_id": ("int", _USER), "first_name": ("varchar(60)", _FIRST),
        "last_name": ("varchar(60)", "CONCAT('Last ', seq)"), "alt_first_name": ("varchar(60)", "NULL"),
        "alt_last_name": ("varchar(60)", "''"), **_PLACE, "county": ("varchar(40)", "'Suffolk'"),
        "year_built": ("year", "IF(seq % 8, 1901 + seq % 120, 0)"),
        "phone1": ("varchar(30)", "CONCAT('(617) 555-', LPAD(seq % 10000, 4, '0'))"), "phone2": ("varchar(30)", "NULL"),
        "marketsharp_id": ("char(36)", "UUID()"), "leap_customer_id": ("bigint", "IF(seq % 4, NULL, -seq)"),
        "third_party_source_id": ("int", "IF(seq % 2, NULL, seq / 2)"), "is_address_valid": ("bit(1)", "b'0'"),
        "score": ("float", "seq / 7"), "place": ("point", "PointFromText(CONCAT('POINT(', seq % 180, ' 1)'))"),
        "flags": ("bit(12)", "seq % 4096"), "stage": ("enum('new','won','lost')", "1 + seq % 3"),
        "old_name": ("varchar(20) CHARACTER SET latin1", "CONCAT('caf', CHAR(233 USING latin1))"),
        "photo": ("varbinary(16)", "UNHEX('00ff80')"), "seen_at": ("timestamp NULL", "'2026-03-29 02:30:00'"),
        # A tenth of all rows has one instant, as after a change of all of them by a script.
        **_ADDED, **_STAMPS, "updated_at": ("datetime(6)", f"IF(seq % 10, {_STAMP}, '2026-01-01 00:00:00')"),
    }),
    "prospect_source": ("{prospects}", "id", {
        "prospect_id": ("int", "seq"), "marketing_source_id": ("int", "1 + seq % 60"), "source_user_id": ("int",
        "NULL"),
        "source_date": ("date", "'2026-01-01'"), "notes": ("text", "NULL"), **_ADDED, **_STAMPS,
    }),
    "lead": ("{prospects} / 4", "lead_id", {
        "first_name": ("varchar(60)", _FIRST), "status": ("varchar(20)", "'open'"), "source": ("varchar(40)", "'web'"),
        **{f"phone{n}": ("varchar(30)", "NULL") for n in range(1, 5)},
        **{f"phone{n}_type": ("tinyint", f"{n}") for n in range(1, 5)},
        **{f"field_{n:02}": ("varchar(80)", f"IF(seq % {n + 2}, NULL, 'x')") for n in range(70)},
        "added_by": ("int", _USER), "added_on": ("datetime", _STAMP), "copied_to_id": ("int", "NULL"),
        "prospect_id": ("int", "seq"), "salesrabbit_lead_id": ("int", "NULL"),
        "updated_at": ("datetime", f"IF(seq % 3, {_STAMP}, NULL)"),
    }),
    "appointment_type": ("8", "id", _LABEL),
    "appointment_outcome_type": ("5", "id", {**_LABEL, "sort_idx": ("int", "seq")}),
    "appointment_outcome": ("20", "id", {"type_id": ("int", "1 + seq % 5"), "label": ("varchar(40)", "'outcome'")}),
    "appointment": ("{prospects} / 2", "id", {
        "prospect_id": ("int", "IF(seq % 1000 = 0, 99999999, seq)"), "prospect_source_id": ("int", "seq"),
        "user_id": ("int", _USER), "type_id": ("int", "1 + seq % 8"), "date": ("date", "'2026-05-05'"),
        "time": ("time", "IF(seq % 100, '10:30:00', '-36:15:00')"), "duration": ("time(3)", "'25:30:00.5'"), **_PLACE,
        **_ADDED, "assign_date": ("datetime", "IF(seq % 20, NULL, '0000-00-00 00:00:00')"),
        "confirm_user_id": ("int", "NULL"), "confirm_date": ("datetime", "NULL"), "confirm_with": ("varchar(40)",
        "NULL"),
        "spouses_present": ("tinyint(1)", "NULL"), "is_complete": ("tinyint(1)", "seq % 2"),
        "complete_outcome_id": ("int", "1 + seq % 20"), "complete_user_id": ("int", "NULL"),
        "complete_date": ("datetime", "NULL"), "marketsharp_id": ("char(36)", "NULL"),
        "marketsharp_appt_type": ("varchar(20)", "NULL"), "leap_estimate_id": ("bigint", "NULL"),
        "marketing_task_id": ("int", "NULL"), **_STAMPS,
    }),
    "appointment_service": ("{prospects} / 2", "appointment_id, service_id", {
        "appointment_id": ("int", "seq"), "service_id": ("int", "1 + seq % 12"),
    }),
    "job": ("{prospects} / 10", "id", {
        "prospect_id": ("int", "seq"), "status_id": ("int", "1 + seq % 6"),
        **{f"amount_{n:02}": ("decimal(10,2)", f"seq * {n} / 100") for n in range(40)},
        **{f"note_{n:02}": ("varchar(80)", "NULL") for n in range(40)}, **_STAMPS,
    }),
    "job_status": ("6", "id", _LABEL),
    "job_financing": ("{prospects} / 20", "job_id", {
        "lender": ("varchar(40)", "'bank'"), "rate": ("decimal(38,30)", "1/3"),
    }),
    "job_change_order_reason": ("3", "id", _LABEL),
    "job_change_order_status": ("3", "id", _LABEL),
    "job_change_order_type": ("3", "id", _LABEL),
    "job_change_order": ("50", "id", {"job_id": ("int", "seq"), **_STAMPS}),
    "job_change_order_item": ("50", "id", {"amount": ("decimal(65,30)", "-1e30"), **_STAMPS}),
    "quote": ("{prospects} / 5", "id", {
        "prospect_id": ("int", "seq"), "appointment_id": ("int", "seq"), "job_id": ("int", "NULL"),
        "client_cid": ("int", "NULL"), "service_id": ("int", "1 + seq % 12"), **_LABEL, "description": ("text", "NULL"),
        "amount": ("decimal(10,2)", "-seq / 100"), "expire_date": ("date", "NULL"), "status_id": ("int", "1"),
        "contract_file_id": ("int", "NULL"), "estimate_file_id": ("int", "NULL"), **_ADDED, **_STAMPS,
    }),
    "integration_field": ("5", "id", {"name": ("varchar(40)", "'field'")}),
    "integration_field_definition": ("5", "id", {"name": ("varchar(40)", "'definition'")}),
}  # fmt: skip

TABLES = tuple(_TABLES)


def create(cursor: Cursor, prospects: int) -> None:
    """Make all tables in the database that *cursor* is in, with *prospects* rows in the largest ones."""
    cursor.execute("SET sql_mode = 'ALLOW_INVALID_DATES'")  # and zero dates, as old servers take them
    sizes = {"prospects": prospects, "users": max(20, min(500, prospects // 100)), "newest": NEWEST}
    for table, (rows, key, columns) in _TABLES.items():
        _create(cursor, table, rows.format(**sizes), key, columns, sizes)


def _create(cursor: Cursor, table: str, rows: str, key: str, columns: _Columns, sizes: dict[str, Any]) -> None:
    keys = {one: ("int", "seq") for one in key.split(", ") if one not in columns}
    columns = {**keys, **columns}
    listed = ", ".join(f"`{name}` {kind}" for name, (kind, _) in columns.items())
    index = ", KEY (updated_at, " + key + ")" if "updated_at" in columns else ""
    cursor.execute(f"CREATE TABLE `{table}` ({listed}, PRIMARY KEY ({key}){index})")
    values = ", ".join(value.format(table=table, **sizes) for _, value in columns.values())
    cursor.execute(f"SELECT CAST(GREATEST(1, {rows}) AS SIGNED)")
    last = cursor.fetchone()[0]
    cursor.execute(f"INSERT INTO `{table}` SELECT {values} FROM seq_1_to_{last}")
