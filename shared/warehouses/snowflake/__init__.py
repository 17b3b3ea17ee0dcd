"""Snowflake as a warehouse. Nobody has run it on a real account yet: see docs/destinations.md."""
