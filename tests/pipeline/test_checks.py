"""The doctor: every part a load needs is looked at by itself, and what is wrong with it says what to do."""

from __future__ import annotations

import datetime as dt
import json

import pytest
import stamina

from azure.storage.blob import ContainerSasPermissions, generate_container_sas

from tests.advice import advises
from tests.exports import Clock, doctor_findings, export_path, open_test_app, write_parquet
from tests.servers import free_port


@pytest.fixture(autouse=True)
def _no_waits():
    with stamina.set_testing(True, attempts=2, cap=True):
        yield


def reported(findings):
    return {one.check: (one.status, one.message) for one in findings}


def of(findings, check):
    return [one for one in findings if one.check == check]


# -- on the command line


def test_embedded_default_is_healthy(sluice):
    """Without any setting: exit code 0, and a line for each check."""
    result = sluice("doctor")

    assert (0, "") == (result.exit_code, result.stderr)
    assert all(word in result.stdout for word in ("settings", "ledger", "warehouse"))
    assert "failed" not in result.stdout


def test_findings_are_records_as_json(sluice, tmp_path):
    """A list, also of what failed."""
    (tmp_path / "warehouse.duckdb").write_bytes(b"no database" * 100)

    result = sluice("doctor", "--json")

    found = json.loads(result.stdout)
    assert 1 == result.exit_code
    assert {"check", "status", "message", "fix"} == set(found[0])
    assert "failed" == found[-1]["status"]
    assert found[-1]["fix"]


def test_broken_ledger_does_not_keep_the_warehouse_from_being_looked_at(sluice, tmp_path):
    """Exit code 1, and both are reported."""
    (tmp_path / "ledger.db").write_bytes(b"no database" * 100)

    result = sluice("doctor", "--json")

    status = {one["check"]: one["status"] for one in json.loads(result.stdout)}
    assert (1, "failed") == (result.exit_code, status["ledger"])
    assert "ok" in [one for check, one in status.items() if check.startswith("warehouse")]


def test_broken_catalog_is_reported_in_one_line(sluice, tmp_path):
    """Without it there is nothing to look at."""
    (tmp_path / "shop.toml").write_text("[system", encoding="utf-8")

    result = sluice("doctor", "--json", CATALOG_PATH=str(tmp_path))

    (found,) = json.loads(result.stdout)
    assert (1, "settings", "failed") == (result.exit_code, found["check"], found["status"])
    assert "shop.toml" in found["message"]
    assert found["fix"]


def test_server_that_is_away_is_reported_without_its_password(sluice):
    """All other checks are reported as well."""
    url = f"postgresql://app:hunter2@127.0.0.1:{free_port()}/sales"

    result = sluice("doctor", "--json", WAREHOUSE_URL=url)

    assert 1 == result.exit_code
    assert "failed" == json.loads(result.stdout)[-1]["status"]
    assert "hunter2" not in result.output


# -- storage


@pytest.fixture
def app(tmp_path):
    return open_test_app(tmp_path, Clock(dt.datetime.now(dt.UTC)))


def test_folder_with_exports_is_listed_and_read(app, tmp_path):
    """The first file, and how many there are."""
    for table in ("item", "order"):
        write_parquet(export_path(tmp_path / "exports", "full", "20260224000000", table), [{"a": 1}])

    found = reported(doctor_findings(app, str(tmp_path / "exports")))

    first = tmp_path / "exports/Full/Acme/20260224000000/item.parquet"
    assert ("ok", f"2 files, the first is {first}") == found["storage: list"]
    assert ("ok", f"the first 4 bytes of {first}") == found["storage: read"]


def test_folder_without_files_is_a_warning(app, tmp_path):
    """It may be the wrong one, or too early."""
    (tmp_path / "empty").mkdir()

    assert [("warning", "Correct the path; it is case-sensitive")] == [
        (one.status, one.fix) for one in of(doctor_findings(app, str(tmp_path / "empty")), "storage")
    ]


@pytest.mark.parametrize(
    "location",
    ["{tmp}/nowhere", "sftp://app:hunter2@127.0.0.1:{port}/x", "https://app:hunter2@127.0.0.1:{port}/x.parquet?sig=abc",
     "ftp://app:hunter2@127.0.0.1/x", "https://acme.blob.core.windows.net/?sig=abc"],
)  # fmt: skip
def test_storage_that_cannot_be_reached_is_reported_and_the_rest_goes_on(app, tmp_path, location):
    """Of whatever kind; without what signs in."""
    findings = list(doctor_findings(app, location.format(tmp=tmp_path, port=free_port())))

    (storage,) = of(findings, "storage")
    assert "failed" == storage.status
    assert storage.fix
    assert "hunter2" not in f"{storage}"
    assert "abc" not in storage.message
    assert "ok" == findings[-1].status


@pytest.fixture
def signed(azurite, container):
    """URL of a container with an export, signed with some rights for some time."""

    def sign(rights, **time):
        container.upload_blob("Full/Acme/20260224000000/item.parquet", b"PAR1", overwrite=True)
        sas = generate_container_sas(
            azurite.account, container.container_name, account_key=azurite.key,
            start=dt.datetime.now(dt.UTC) - dt.timedelta(days=9), expiry=dt.datetime.now(dt.UTC) + dt.timedelta(**time),
            permission=ContainerSasPermissions.from_string(rights),
        )  # fmt: skip
        return f"{container.url}?{sas}"

    return sign


@pytest.mark.parametrize(
    ("hours", "status", "words"),
    [(73.5, "ok", "UTC, in 3 days"), (24.5, "warning", "UTC, in 24 hours"), (0.5, "warning", "in less than an hour")],
)
def test_end_of_a_link_is_reported_in_words(app, signed, hours, status, words):
    """Two days before, it is a warning; nothing of the link itself is repeated."""
    findings = list(doctor_findings(app, signed("rl", hours=hours)))

    (link,) = of(findings, "storage: SAS")
    assert (status, True) == (link.status, link.message.endswith(words))
    assert "ok" == reported(findings)["storage: read"][0]
    assert "sig=" not in f"{findings}"
    if status == "warning":
        advises("Ask for a new link before then", link.fix)
        (link,) = of(doctor_findings(app, signed("rl", hours=24 * 7)), "storage: SAS")
        assert "ok" == link.status


def test_link_that_has_ended_is_reported_beside_what_the_server_says(app, signed):
    """Since when, and that a new one is needed."""
    findings = list(doctor_findings(app, signed("rl", hours=-50)))

    (link,) = of(findings, "storage: SAS")
    assert ("failed", "Ask for a new link") == (link.status, link.fix)
    assert link.message.endswith("2 days ago")
    assert "ok" == findings[-1].status


def test_link_without_the_right_to_list_is_reported(app, signed):
    """What the server refuses, and what to ask for."""
    findings = list(doctor_findings(app, signed("w", hours=72)))

    (storage,) = of(findings, "storage")
    assert "failed" == storage.status
    assert "list" in f"{storage.message} {storage.fix}"
    assert "sig=" not in f"{storage}"
