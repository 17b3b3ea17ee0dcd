"""The CSV file that is imported: leads as LeadConduit exports them, made by a formula, the same on every machine.

It has 25 columns under headers that people use, most of them aliases in the catalog. About half of the phone numbers,
e-mail addresses, dates, zip codes and flags are not as they will be stored: other forms, capitals, blanks around
them, or none at all. People come back: 1,000,000 leads are of about 450,000 people, with the e-mail address and phone
number of each. Of 1,000 leads one has no id and is rejected, and about two in a hundred phone numbers, addresses and
dates cannot be read at all.

Make it alone: ``python -m bench.csv_data leads.csv --rows 1000000``.
"""

from __future__ import annotations

import argparse

from pathlib import Path

COLUMNS = 25
EXPORTED = "2026-03-01T00:00:00"
"""After every date in the file."""

_PERSON = """
    SELECT i, (hash(i, 1) % {people})::BIGINT AS p FROM range(1, {rows} + 1) AS t(i)
"""
_TEXTS = """
    SELECT i, p,
        ['Mary', 'José', 'Łukasz', 'Pat', 'Chen', 'Amara', 'O''Neil', 'Zoë', 'Lee', 'Robin']
            [1 + (hash(p, 2) % 10)::INT] AS first,
        ['Reyes', 'Ibáñez', 'Nguyễn', 'Fernández', 'Wei', 'Okafor', 'Tremblay', 'Rossi', 'Smith, Jr.', 'Żółć']
            [1 + (hash(p, 3) % 10)::INT] AS last,
        [617, 508, 401, 208, 212, 303, 415, 512, 602, 702, 773, 818, 206, 305, 404, 503, 615, 704, 801, 919]
            [1 + (hash(p, 4) % 20)::INT] AS area,
        230 + (hash(p, 5) % 80)::INT AS office, lpad((hash(p, 6) % 10000)::VARCHAR, 4, '0') AS line,
        lpad((hash(p, 7) % 99950 + 1)::VARCHAR, 5, '0') AS zip,
        TIMESTAMP '2025-01-01' + to_seconds((hash(i, 8) % 31536000)::BIGINT) AS sent
    FROM ({persons})
"""
_ROW = """
    SELECT
        CASE WHEN i % 1000 <> 500 THEN '66' || lpad(to_hex(i), 22, '0') END AS "Lead ID",
        ['Windows US', 'Roofing US', 'Siding US', 'Bath "Deluxe"'][1 + (hash(i, 10) % 4)::INT] AS "Flow Name",
        ['Search Partners', 'Facebook', 'Home show', 'TV, radio', 'Referral'][1 + (hash(i, 11) % 5)::INT] AS "Source",
        CASE hash(p, 12) % 10 WHEN 0 THEN upper(first) WHEN 1 THEN ' ' || first ELSE first END AS "FName",
        last AS "LName",
        CASE
            WHEN hash(i, 13) % 100 < 10 THEN ''
            WHEN hash(i, 13) % 100 < 12 THEN 'person' || p || '(at)example.com'
            WHEN hash(i, 13) % 100 < 45 THEN 'Person' || p || '@Example.COM'
            WHEN hash(i, 13) % 100 < 50 THEN ' person' || p || '@example.com '
            ELSE 'person' || p || '@example.com'
        END AS "E-mail",
        CASE
            WHEN hash(i, 14) % 100 < 8 THEN ''
            WHEN hash(i, 14) % 100 < 10 THEN office || '-' || line
            WHEN hash(i, 14) % 100 < 30 THEN '(' || area || ') ' || office || '-' || line
            WHEN hash(i, 14) % 100 < 40 THEN area || '.' || office || '.' || line
            WHEN hash(i, 14) % 100 < 50 THEN area || '-' || office || '-' || line || ' x' || p % 90 + 10
            WHEN hash(i, 14) % 100 < 60 THEN '1' || area || office || line
            WHEN hash(i, 14) % 100 < 80 THEN '+1' || area || office || line
            ELSE area::VARCHAR || office || line
        END AS "Primary Phone",
        CASE WHEN hash(i, 15) % 100 < 15 THEN area || ' ' || office || ' ' || line END AS "Alternate Phone",
        (p % 9000 + 1) || [' Oak St', ' Elm Ave', ' Pine Rd, Unit 3', ' Birch Ln'][1 + (p % 4)::INT] AS "Address",
        ['Boston', 'Worcester', 'Providence', 'Boise', 'San José'][1 + (p % 5)::INT] AS "City",
        ['MA', 'ma', 'RI', 'ID', 'CA'][1 + (p % 5)::INT] AS "State/Province",
        CASE hash(i, 16) % 4 WHEN 0 THEN ltrim(zip, '0') WHEN 1 THEN zip || '-' || line ELSE zip END AS "ZIP",
        ['US', 'USA', ''][1 + (hash(p, 17) % 3)::INT] AS "Country",
        'Campaign ' || hash(i, 18) % 200 AS "Campaign Name",
        'Group ' || hash(i, 19) % 2000 AS "AdGroup",
        CASE WHEN hash(i, 20) % 10 < 6 THEN 'new "windows" ' || hash(i, 20) % 5000 END AS "Search Term",
        ['google', 'bing', 'facebook', ''][1 + (hash(i, 21) % 4)::INT] AS "utm_source",
        ['cpc', 'social', 'email', ''][1 + (hash(i, 22) % 4)::INT] AS "utm_medium",
        CASE WHEN hash(i, 23) % 10 < 8 THEN (hash(i, 23) % 1000 / 10)::DECIMAL(5,1)::VARCHAR END AS "Score",
        ['true', 'no', '1', '', 'duplicate', 'N'][1 + (hash(i, 24) % 6)::INT] AS "Duplicate",
        '203.0.113.' || hash(i, 25) % 256 AS "IP",
        'https://lp.example.com/offer?id=' || hash(i, 26) % 3000 || '&x=a,b' AS "LP",
        CASE WHEN hash(i, 27) % 2 = 0 THEN strftime(sent, '%Y-%m-%dT%H:%M:%SZ') END AS "createdate",
        ['success', 'failure', 'error'][1 + (hash(i, 28) % 3)::INT] AS "Outcome",
        CASE
            WHEN hash(i, 29) % 100 < 2 THEN strftime(sent, '%m/') || '32' || strftime(sent, '/%Y %H:%M:%S')
            WHEN hash(i, 29) % 100 < 50 THEN strftime(sent, '%m/%d/%Y %H:%M:%S')
            WHEN hash(i, 29) % 100 < 60 THEN strftime(sent, '%m/%d/%Y')
            ELSE strftime(sent, '%Y-%m-%d %H:%M:%S')
        END AS "Submission Time"
    FROM ({texts}) ORDER BY i
"""


def make(path: Path, rows: int) -> None:
    """Write the file, UTF-8 with LF; about 300 bytes a row."""
    import duckdb

    persons = _PERSON.format(rows=rows, people=max(1, rows // 2))
    query = _ROW.format(texts=_TEXTS.format(persons=persons))
    path.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as connection:
        connection.sql(query).write_csv(path.as_posix(), header=True)


def expected(rows: int) -> dict[str, int]:
    """How many rows a correct import loads and rejects.

    >>> expected(1_000_000)
    {'loaded': 999000, 'rejected': 1000}
    """
    rejected = (rows + 500) // 1000
    return {"loaded": rows - rejected, "rejected": rejected}


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="Make the CSV file of leads that the benchmark imports.")
    arguments.add_argument("path", type=Path)
    arguments.add_argument("--rows", type=int, default=1_000_000)
    options = arguments.parse_args()
    make(options.path, options.rows)
