"""The merge, once for all engines: which rows change, and how they are written."""
