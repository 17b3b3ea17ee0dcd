"""Encrypted Parquet files, written with pyarrow's own encryption."""

from __future__ import annotations

import base64
import io

import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe


class Kms(pe.KmsClient):
    """Keys that nobody keeps secret."""

    def wrap_key(self, key, _name):
        return base64.b64encode(key)

    def unwrap_key(self, key, _name):
        return base64.b64decode(key)


def encrypted_parquet(table, *, plaintext_footer, columns):
    """*table* as Parquet, with *columns* encrypted by a key of their own."""
    connection = pe.KmsConnectionConfig(custom_kms_conf={"footer": "0123456789012345", "column": "0123456789012345"})
    chosen = pe.EncryptionConfiguration(
        footer_key="footer", column_keys={"column": columns}, plaintext_footer=plaintext_footer
    )
    properties = pe.CryptoFactory(lambda _: Kms()).file_encryption_properties(connection, chosen)
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, table.schema, encryption_properties=properties) as writer:
        writer.write_table(table)
    return sink.getvalue()
