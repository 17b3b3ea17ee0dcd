-- Once for each account: how Snowflake reads the exports. Replace what is in <angle brackets>. Run by a role that may create integrations.
CREATE DATABASE IF NOT EXISTS coolr;
CREATE SCHEMA IF NOT EXISTS coolr.exports;
USE SCHEMA coolr.exports;

-- Signs in as a service principal of Snowflake rather than by a SAS, which would stand here as text and expire.
CREATE STORAGE INTEGRATION IF NOT EXISTS coolr_exports
  TYPE = EXTERNAL_STAGE
  STORAGE_PROVIDER = 'AZURE'
  ENABLED = TRUE
  AZURE_TENANT_ID = '<tenant id>'
  STORAGE_ALLOWED_LOCATIONS = ('azure://<account>.blob.core.windows.net/exports/');

-- Shows the address to consent at, and the application to give the role Storage Blob Data Reader on the container.
DESCRIBE STORAGE INTEGRATION coolr_exports;

-- Times in Parquet are read as times, not as numbers.
CREATE FILE FORMAT IF NOT EXISTS parquet_format
  TYPE = PARQUET
  USE_LOGICAL_TYPE = TRUE
  BINARY_AS_TEXT = FALSE;

CREATE STAGE IF NOT EXISTS coolr_exports
  URL = 'azure://<account>.blob.core.windows.net/exports/'
  STORAGE_INTEGRATION = coolr_exports
  FILE_FORMAT = (FORMAT_NAME = parquet_format);
