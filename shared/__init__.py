"""Bring business data into a warehouse: plan, stage, publish, tidy."""
