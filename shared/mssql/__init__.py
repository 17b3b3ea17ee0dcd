"""SQL Server and Azure SQL over ODBC: how to connect and sign in, and what the server's errors mean."""
