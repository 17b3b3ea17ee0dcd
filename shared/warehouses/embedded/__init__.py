"""DuckDB within this process: what all engines that use it have in common."""
