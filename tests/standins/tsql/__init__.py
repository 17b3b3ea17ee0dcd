"""T-SQL without a SQL Server: Microsoft's parser says what is valid, a stand-in runs it approximately."""
