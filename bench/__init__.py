"""How fast Sluice is, and how much memory it takes, beside plain SQL and a peer. Start: ``make bench``."""
