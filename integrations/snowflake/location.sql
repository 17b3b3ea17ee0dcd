-- One table, kept up to date every six hours. For another table copy this file, and replace its name, key and columns.
-- Replace <client> and <warehouse>, and run it after setup.sql.
USE SCHEMA coolr.exports;

-- The rows of every file as they came, with the file and the row's place in it.
CREATE TABLE IF NOT EXISTS location_arrived (
  LocationId NUMBER(38, 0),
  Name VARCHAR,
  ModifiedOn TIMESTAMP_NTZ(6),
  IsDeleted BOOLEAN,
  FileName VARCHAR,
  FileRow NUMBER(38, 0)
);

-- Each row as it is now. A deleted row stays, with DeletedAt, so that an older file cannot bring it back.
CREATE TABLE IF NOT EXISTS location (
  LocationId NUMBER(38, 0) NOT NULL PRIMARY KEY,
  Name VARCHAR,
  ModifiedOn TIMESTAMP_NTZ(6),
  IsDeleted BOOLEAN NOT NULL,
  ExportedAt VARCHAR NOT NULL,
  FirstSyncAt TIMESTAMP_NTZ(6) NOT NULL,
  SyncedAt TIMESTAMP_NTZ(6) NOT NULL,
  DeletedAt TIMESTAMP_NTZ(6)
);

CREATE OR REPLACE VIEW location_active AS
SELECT * FROM location WHERE DeletedAt IS NULL;

-- What has arrived and is not merged. A merge that fails leaves it as it was.
CREATE STREAM IF NOT EXISTS location_new ON TABLE location_arrived APPEND_ONLY = TRUE;

-- Every six hours take all files that are not loaded yet, not only those of "latest": two exports may have arrived since.
-- Snowflake remembers for 64 days which files it has loaded.
CREATE OR REPLACE TASK load_location
  WAREHOUSE = <warehouse>
  SCHEDULE = 'USING CRON 0 */6 * * * UTC'
AS
COPY INTO location_arrived
FROM @coolr_exports/
PATTERN = '(Full|Delta)/<client>/[0-9]+/location[.]parquet'
FILE_FORMAT = (FORMAT_NAME = parquet_format)
MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE
INCLUDE_METADATA = (FileName = METADATA$FILENAME, FileRow = METADATA$FILE_ROW_NUMBER)
ON_ERROR = SKIP_FILE;

-- Newest wins: of several rows with a key the highest ModifiedOn counts, then the later export, then the later row of the file.
-- FileTime is the folder of the file, a time of 8 or 14 digits; filled up to 14, it sorts as time does.
CREATE OR REPLACE TASK merge_location
  WAREHOUSE = <warehouse>
  AFTER load_location
  WHEN SYSTEM$STREAM_HAS_DATA('location_new')
AS
MERGE INTO location AS target
USING (
  SELECT
    LocationId,
    Name,
    ModifiedOn,
    COALESCE(IsDeleted, FALSE) AS IsDeleted,
    RPAD(SPLIT_PART(FileName, '/', -2), 14, '0') AS FileTime
  FROM location_new
  WHERE LocationId IS NOT NULL
  QUALIFY ROW_NUMBER() OVER (
    PARTITION BY LocationId ORDER BY ModifiedOn DESC NULLS LAST, FileTime DESC, FileRow DESC
  ) = 1
) AS source
ON target.LocationId = source.LocationId
WHEN MATCHED
  AND (
    source.ModifiedOn > target.ModifiedOn
    OR (source.ModifiedOn IS NOT NULL AND target.ModifiedOn IS NULL)
    OR (source.ModifiedOn IS NOT DISTINCT FROM target.ModifiedOn AND source.FileTime >= target.ExportedAt)
  )
  AND (
    source.Name IS DISTINCT FROM target.Name
    OR source.ModifiedOn IS DISTINCT FROM target.ModifiedOn
    OR source.IsDeleted IS DISTINCT FROM target.IsDeleted
  )
THEN UPDATE SET
  Name = source.Name,
  ModifiedOn = source.ModifiedOn,
  IsDeleted = source.IsDeleted,
  ExportedAt = source.FileTime,
  SyncedAt = SYSDATE(),
  DeletedAt = IFF(source.IsDeleted, COALESCE(source.ModifiedOn, SYSDATE()), NULL)
WHEN NOT MATCHED THEN INSERT
  (LocationId, Name, ModifiedOn, IsDeleted, ExportedAt, FirstSyncAt, SyncedAt, DeletedAt)
VALUES (
  source.LocationId,
  source.Name,
  source.ModifiedOn,
  source.IsDeleted,
  source.FileTime,
  SYSDATE(),
  SYSDATE(),
  IFF(source.IsDeleted, COALESCE(source.ModifiedOn, SYSDATE()), NULL)
);

-- Started once; the second one first, as it only runs after the other.
ALTER TASK merge_location RESUME;
ALTER TASK load_location RESUME;
