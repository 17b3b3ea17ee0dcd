"""What a row must be: column types, cursor values, casting, rejects. Pure."""
