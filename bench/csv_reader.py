"""How fast text files are read into batches of text on one core, and in how much memory: without cleaning or loading.

``python -m bench.csv_reader leads.csv`` reads one file in a process of its own, after DuckDB and Arrow have done so.
Make the file with ``python -m bench.csv_data leads.csv --rows 1000000``.
"""
