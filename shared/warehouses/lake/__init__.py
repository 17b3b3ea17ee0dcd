"""A data lake as a warehouse: Delta tables in a folder or a container of Azure Storage."""
