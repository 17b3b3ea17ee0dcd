"""Read tables of a Sluice lake in Spark: a module to copy into a notebook or a job. It needs PySpark alone.

from sluice_lake import current, files_of
orders = current(spark, "abfss://lake@account.dfs.core.windows.net/shop/orders")
"""

from __future__ import annotations

from pyspark.sql import DataFrame, SparkSession

MANIFEST = "_symlink_format_manifest"


def current(spark: SparkSession, table: str) -> DataFrame:
    """The rows of *table*, the folder of a Delta table, in its current version: for a Spark that has Delta Lake."""
    return spark.read.format("delta").load(table)


def version(spark: SparkSession, table: str, number: int) -> DataFrame:
    """Its rows as they were in an earlier version, as long as upkeep has kept the files of that."""
    return spark.read.format("delta").option("versionAsOf", number).load(table)


def listed(spark: SparkSession, table: str) -> DataFrame:
    """The rows of *table* for a Spark without Delta Lake: of the files that its manifest lists.

    They are those of the version that was current when the manifest was written (`sluice upkeep --manifest`). A
    plain ``spark.read.parquet(table)`` would read replaced files too, and rows twice.
    """
    files = files_of(spark, table)
    if not files:
        raise ValueError(f"the manifest of {table} lists no file")
    # Columns that a later version added are missing from older files.
    return spark.read.option("basePath", table).option("mergeSchema", "true").parquet(*files)


def files_of(spark: SparkSession, table: str) -> list[str]:
    """The files that the manifest of *table* lists, below *table* as the caller names it.

    The manifest has whole paths, as its writer reached them: only their end is taken.
    """
    root = table.rstrip("/")
    system, name = root.split("/")[-2:]
    below = f"/{system}/{name}/"
    lines = spark.read.text(_manifests(spark, root)).collect()
    return sorted(f"{root}/{line.value.rsplit(below, 1)[1]}" for line in lines)


def _manifests(spark: SparkSession, root: str) -> list[str]:
    """One file, or one for each partition. Spark itself hides folders that begin with an underscore."""
    path = spark._jvm.org.apache.hadoop.fs.Path(f"{root}/{MANIFEST}")
    system = path.getFileSystem(spark._jsc.hadoopConfiguration())
    if not system.exists(path):
        raise ValueError(f"{root} has no manifest: write one with `sluice upkeep --manifest`")
    found, entries = [], system.listFiles(path, True)
    while entries.hasNext():
        file = entries.next().getPath()
        if file.getName() == "manifest":
            found.append(file.toString())
    return found
