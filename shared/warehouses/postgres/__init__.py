"""PostgreSQL 12 or later as a warehouse."""
