"""What a row must be. Pure.

The door: ``types`` (what a column can hold), ``cursor`` (cursor values as text), ``cast`` and ``clean`` (one array),
``conform`` (batches of a run), ``codes`` (why a row or value was rejected).
"""
