"""Puts Sluice into a resource group of Azure, step by step, and takes it away: ``python -m infra.deploy --help``."""
