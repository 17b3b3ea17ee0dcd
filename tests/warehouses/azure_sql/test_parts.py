"""CSV parts in a container: whole, in order, within bounds; and what happens when the storage fails."""

from __future__ import annotations

import datetime as dt
import itertools
import threading
import traceback

from unittest import mock

import pyarrow as pa
import pytest

from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobServiceClient, ContainerClient, ContainerSasPermissions, generate_container_sas

from shared.azure.errors import container_refused
from shared.contract.conform import ROW
from shared.errors import ConfigError, DataError, TransientError
from shared.warehouses.azure_sql import parts as parts_module
from shared.warehouses.azure_sql.parts import leftovers, remove, upload
from shared.warehouses.server.csv import encode

KIB = 1 << 10
QUICK = {
    "retry_total": 1,
    "initial_backoff": 0,
    "increment_base": 0,
    "random_jitter_range": 0,
    "connection_timeout": 2,
    "read_timeout": 30,
}


def batch(first, rows=100, text="some text"):
    return pa.record_batch([pa.array(range(first, first + rows)), pa.array([text] * rows)], names=[ROW, "text"])


def batches(count, rows=100, text="some text"):
    return [batch(number * rows, rows, text) for number in range(count)]


def text_of(several):
    return b"".join(bytes(encode(one)) for one in several)


def content(container, parts):
    return b"".join(container.download_blob(part.name).readall() for part in parts)


def names(container):
    return sorted(container.list_blob_names())


def with_sas(container, server, hours, **allowed):
    """A client that signs in by a SAS that ends in some hours, and the signature that nobody may tell."""
    sas = generate_container_sas(
        server.account,
        container.container_name,
        account_key=server.key,
        permission=ContainerSasPermissions(**allowed),
        start=dt.datetime.now(dt.UTC) - dt.timedelta(hours=3),
        expiry=dt.datetime.now(dt.UTC) + dt.timedelta(hours=hours),
    )
    client = ContainerClient(server.blob_url, container.container_name, credential=sas, **QUICK)
    return client, sas.rpartition("sig=")[2].partition("&")[0]


def reported(error):
    """Everything that a log would show of an error."""
    return "".join(traceback.format_exception(error))


@pytest.mark.parametrize("spooled", [False, True])
def test_parts_hold_all_rows_in_order(container, tmp_path, spooled):
    several = batches(10, 1_000)

    parts = upload(
        several, container, "run/0", part_bytes=40 * KIB, block_bytes=4 * KIB, spool=tmp_path if spooled else None
    )

    assert text_of(several) == content(container, parts)
    assert 10_000 == sum(part.rows for part in parts)
    assert [] == list(tmp_path.iterdir())


def test_part_says_what_is_in_it(container):
    parts = upload(batches(5), container, "run/0", part_bytes=3 * KIB)

    assert ["run/0/0.csv", "run/0/1.csv", "run/0/2.csv"] == [part.name for part in parts] == names(container)
    assert [200, 200, 100] == [part.rows for part in parts]
    assert [0, 200, 400] == [part.first_row for part in parts]
    assert [container.get_blob_client(part.name).get_blob_properties().size for part in parts] == [
        part.bytes for part in parts
    ]


def test_part_ends_with_the_batch_that_fills_it(container):
    size = len(bytes(encode(batch(0))))

    exactly = upload([batch(0), batch(0)], container, "a", part_bytes=size)
    above = upload([batch(0), batch(0)], container, "b", part_bytes=size + 1)

    assert [100, 100] == [part.rows for part in exactly]
    assert [200] == [part.rows for part in above]


def test_no_rows_are_no_parts(container):
    assert [] == upload([], container, "run/0", part_bytes=KIB)
    assert [] == upload([batch(0, 0)], container, "run/0", part_bytes=KIB)
    assert [] == names(container)


def test_empty_batches_between_others_change_nothing(container):
    parts = upload([batch(0, 0), batch(7, 1), batch(8, 0)], container, "run/0", part_bytes=KIB)

    assert [(7, 1)] == [(part.first_row, part.rows) for part in parts]


def test_same_prefix_again_overwrites(container):
    upload(batches(3), container, "run/0", part_bytes=KIB)

    parts = upload([batch(0, text="new")], container, "run/0", part_bytes=KIB)

    assert text_of([batch(0, text="new")]) == content(container, parts)


def test_memory_is_bounded_by_the_blocks_in_flight(container):
    """Uploads only go on once the encoder waits for them; until then it has made in_flight + 2 blocks at most."""
    stalled, sizes = threading.Event(), []
    stage, wait_for = parts_module._Blocks._stage, parts_module._Blocks._await

    def slow(self, blob, id, data):
        assert stalled.wait(30)
        stage(self, blob, id, data)

    def watched(self, left):
        if len(self._running) > left:
            stalled.set()
        wait_for(self, left)

    def measured(rows):
        piece = encode(rows)
        sizes.append(0 if stalled.is_set() else piece.size)
        return piece

    with (
        mock.patch.object(parts_module, "encode", measured),
        mock.patch.multiple(parts_module._Blocks, _stage=slow, _await=watched),
    ):
        parts = upload(batches(50, 300), container, "run/0", part_bytes=1 << 20, in_flight=3, block_bytes=4 * KIB)

    assert [15_000] == [part.rows for part in parts]
    assert sum(sizes) <= 5 * 5 * KIB < parts[0].bytes


def test_blocks_are_uploaded_side_by_side(container):
    """The first three wait for each other: they would in vain if only two were under way at once."""
    together, numbers = threading.Barrier(3), itertools.count()
    stage = parts_module._Blocks._stage

    def meet(self, blob, id, data):
        if next(numbers) < 3:
            together.wait(60)
        stage(self, blob, id, data)

    with mock.patch.object(parts_module._Blocks, "_stage", meet):
        parts = upload(batches(9, 300), container, "run/0", part_bytes=1 << 20, in_flight=3, block_bytes=4 * KIB)

    assert [2_700] == [part.rows for part in parts]


def test_failure_of_the_source_comes_out_as_it_is_and_commits_nothing(container):
    class BrokenError(Exception):
        pass

    def source():
        yield batch(0)
        yield batch(100)
        raise BrokenError

    with pytest.raises(BrokenError):
        upload(source(), container, "run/0", part_bytes=1 << 20, block_bytes=KIB)

    assert [] == names(container)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("upload", "encode"))]


def test_parts_before_a_failure_stay_until_removed(container):
    def source():
        yield from batches(4)
        raise LookupError

    with pytest.raises(LookupError):
        upload(source(), container, "run/0", part_bytes=3 * KIB)
    before = names(container)
    remove(container, "run/0")

    assert "run/0/0.csv" in before
    assert [] == names(container)


def test_failure_of_the_encoder_comes_out_as_it_is(container, tmp_path):
    with pytest.raises(DataError, match="NUL"):
        upload([batch(0), batch(100, text="a\0b")], container, "run/0", part_bytes=1 << 20, spool=tmp_path)

    assert [] == names(container)
    assert [] == list(tmp_path.iterdir())


def test_removing_leaves_other_prefixes_alone(container):
    for prefix in ("run/1", "run/10", "run/1/more"):
        upload([batch(0)], container, prefix, part_bytes=KIB)

    remove(container, "run/1")
    remove(container, "run/1")

    assert ["run/10/0.csv"] == names(container)


def test_leftovers_are_prefixes_whose_last_part_is_old(container):
    upload(batches(2), container, "dead/0", part_bytes=KIB)
    upload(batches(2), container, "dead/1", part_bytes=KIB)
    container.upload_blob("dead/2/notes.txt", b"not ours")
    container.upload_blob("0.csv", b"not ours")
    now = dt.datetime.now(dt.UTC)
    written = container.get_blob_client("dead/1/1.csv").get_blob_properties().last_modified

    assert ["dead/0", "dead/1"] == leftovers(container, now + dt.timedelta(minutes=1))
    assert ["dead/1"] == leftovers(container, now + dt.timedelta(minutes=1), under="dead/1")
    assert "dead/1" not in leftovers(container, written)


def test_read_only_sas_is_a_setting_to_correct(container, azurite):
    client, secret = with_sas(container, azurite, 1, read=True, list=True)

    with client, pytest.raises(ConfigError, match="Storage Blob Data Contributor") as caught:
        upload(batches(2), client, "run/0", part_bytes=KIB)

    assert secret not in reported(caught.value)
    assert [] == names(container)


def test_expired_sas_is_a_setting_to_correct(container, azurite):
    client, secret = with_sas(container, azurite, -1, read=True, write=True, list=True)

    with client, pytest.raises(ConfigError, match="expired") as caught:
        upload(batches(2), client, "run/0", part_bytes=KIB)

    assert secret not in reported(caught.value)


@pytest.mark.parametrize(
    ("status", "code", "kind", "words"),
    [
        (403, "AuthenticationFailed", ConfigError, "it has expired, or is wrong"),
        (403, "AuthorizationFailure", ConfigError, "Storage Blob Data Contributor"),
        (401, "NoAuthenticationInformation", ConfigError, "Storage Blob Data Contributor"),
        (409, "ContainerBeingDeleted", TransientError, "Several tries have failed"),
        (429, None, TransientError, "429"),
        (503, "ServerBusy", TransientError, "ServerBusy"),
        (400, "InvalidResourceName", ConfigError, "InvalidResourceName"),
    ],
)
def test_answers_of_the_storage_become_ours(status, code, kind, words):
    """Those that Azurite does not give: for an expired SAS Azure says AuthenticationFailed."""
    error = HttpResponseError("with a secret")
    error.status_code, error.error_code = status, code

    ours = container_refused(error, "container 'c' of a")

    assert kind is type(ours)
    assert words in str(ours)
    assert "secret" not in str(ours)


def test_absent_container_is_a_setting_to_correct(azurite):
    with BlobServiceClient.from_connection_string(azurite.connection_string, **QUICK) as service:
        client = service.get_container_client("absent")

        for call in (
            lambda: upload([batch(0)], client, "run/0", part_bytes=KIB),
            lambda: remove(client, "run/0"),
            lambda: leftovers(client, dt.datetime.now(dt.UTC)),
        ):
            with pytest.raises(ConfigError, match="there is no container 'absent'"):
                call()


def test_refused_connection_is_passing_and_tells_no_secret(private_azurite):
    server = private_azurite()
    with BlobServiceClient.from_connection_string(server.connection_string) as service:
        container = service.create_container("parts")
    client, secret = with_sas(container, server, 1, read=True, write=True, list=True)
    server.stop()

    with client, pytest.raises(TransientError, match="Several tries have failed") as caught:
        upload(batches(2), client, "run/0", part_bytes=KIB)

    assert secret not in reported(caught.value)


def test_storage_killed_on_the_way_is_passing_and_the_next_try_repairs(private_azurite):
    server = private_azurite()
    with BlobServiceClient.from_connection_string(server.connection_string, **QUICK) as service:
        container = service.create_container("parts")

        def source():
            yield from batches(5, 1_000)
            server.kill()
            yield from batches(50, 1_000)

        with pytest.raises(TransientError):
            upload(source(), container, "run/0", part_bytes=1 << 30, block_bytes=4 * KIB)
        server.start()
        if not container.exists():  # what was not yet on disk is gone with the server
            container.create_container()
        assert [] == names(container)
        parts = upload(batches(5, 1_000), container, "run/0", part_bytes=1 << 30, block_bytes=4 * KIB)

        assert text_of(batches(5, 1_000)) == content(container, parts)


def test_two_tries_at_once_do_not_mix(container):
    """The other try commits first; ours then lacks its blocks, and says that it can be repeated."""
    mine, other = batches(3, text="mine"), batches(3, text="other")

    def source():
        yield from mine
        upload(other, container, "run/0", part_bytes=1 << 20, block_bytes=KIB)

    with pytest.raises(TransientError):
        upload(source(), container, "run/0", part_bytes=1 << 20, block_bytes=KIB)

    assert text_of(other) == container.download_blob("run/0/0.csv").readall()
