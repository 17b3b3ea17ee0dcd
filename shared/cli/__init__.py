"""The command line: `sluice`, also `python -m shared`."""
