"""Tables of MariaDB, MySQL and PostgreSQL as a source."""
