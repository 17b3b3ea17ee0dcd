"""DuckDB as a warehouse in one file."""
