"""Run by an environment with fakesnow: make the tables of a script, merge lists of rows, print the table as JSON.

Argument: the script with names filled in. Input: JSON, a list of lists of rows of ``location_arrived``. Each list is
what has arrived since the last merge, as the stream would have it.
"""

from __future__ import annotations

import json
import re
import sys
import warnings

from pathlib import Path

COLUMNS = "LocationId, Name, ModifiedOn, IsDeleted, FileName, FileRow"


def main(script: str) -> None:
    warnings.simplefilter("ignore")
    import fakesnow  # here, as the tests are collected without it; it warns when it is imported
    import snowflake.connector

    text = Path(script).read_text(encoding="utf-8")
    merge = re.search(r"^MERGE INTO.*?;", text, re.DOTALL | re.MULTILINE)[0].rstrip(";")
    tables = re.findall(r"^CREATE TABLE.*?;|^CREATE OR REPLACE VIEW.*?;", text, re.DOTALL | re.MULTILINE)
    with fakesnow.patch():
        cursor = snowflake.connector.connect(database="coolr", schema="exports").cursor()
        for statement in tables:
            cursor.execute(statement)
        counts = []
        for rows in json.load(sys.stdin):
            cursor.execute("CREATE OR REPLACE TABLE location_new AS SELECT * FROM location_arrived WHERE FALSE")
            for row in rows:
                cursor.execute(
                    f"INSERT INTO location_new ({COLUMNS}) SELECT %s, %s, %s::TIMESTAMP_NTZ, %s, %s, %s",
                    row,
                )
            counts.append([int(count) for count in cursor.execute(merge).fetchone()])
        names = "LocationId, Name, ModifiedOn::VARCHAR, DeletedAt::VARCHAR, ExportedAt, SyncedAt > FirstSyncAt"
        found = cursor.execute(f"SELECT {names} FROM location ORDER BY LocationId").fetchall()
        active = cursor.execute("SELECT LocationId FROM location_active ORDER BY LocationId").fetchall()
    print(json.dumps({"rows": found, "active": [int(id) for (id,) in active], "counts": counts}, default=str))


if __name__ == "__main__":
    main(sys.argv[1])
