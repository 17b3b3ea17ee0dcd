"""Azure SQL Database, and SQL Server 2019 or later, as a warehouse."""
