"""Puts Sluice into a resource group of Azure, step by step, and removes it: ``python -m infra.deploy --help``."""
