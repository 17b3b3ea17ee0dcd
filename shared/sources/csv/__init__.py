"""Text files and spreadsheets, one unit each."""
