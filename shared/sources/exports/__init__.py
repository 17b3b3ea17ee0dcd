"""Folders of exported Parquet files as a source."""
