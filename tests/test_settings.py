"""Settings are read once, from a mapping, and refused with their names."""

from __future__ import annotations

import json

from dataclasses import fields
from pathlib import Path

import pytest

from shared.errors import ConfigError
from shared.settings import CONNECTION_STRING, Settings, SystemSettings, trigger_source, url_kind, zone
from tests.advice import advised, follows

SAMPLE = Path(__file__).parents[1] / "local.settings.sample.json"


def test_everything_has_a_default():
    """A laptop needs no settings at all."""
    settings = Settings.from_env({})

    assert ("duckdb:///.sluice/warehouse.duckdb", "250MB") == (settings.warehouse_url, settings.warehouse_memory)


def test_empty_settings_count_as_unset():
    """Azure's portal keeps an empty value for a setting that was cleared."""
    assert Settings.from_env({}) == Settings.from_env({"SLICE_ROWS": "", "COOLR_CLIENT": ""})


@pytest.mark.parametrize(
    ("name", "value"),
    [("SLICE_ROWS", "many"), ("SLICE_ROWS", "0"), ("BATCH_ROWS", "-1"), ("SETTLE", "nan"), ("CURSOR_AHEAD", "inf")],
)
def test_unreadable_values_are_named(name, value):
    """All of them at once, with what was given."""
    with pytest.raises(ConfigError) as caught:
        Settings.from_env({name: value, "WAREHOUSE_LOCK_TIMEOUT": "soon"})

    assert f"{name} must be " in caught.value.problem
    assert f", not '{value}'" in caught.value.problem
    assert "WAREHOUSE_LOCK_TIMEOUT must be seconds from 0 up, such as 60, not 'soon'" in caught.value.problem


@pytest.mark.parametrize("wrong", ["SLICE_ROWS=0", "SETTLE=nan", "WAREHOUSE_MEMORY=1", "ALERT_ON=never"])
def test_a_value_is_corrected_as_the_error_shows_or_removed(wrong):
    name, _, value = wrong.partition("=")

    with advised("Correct it, or remove it for its default") as advice:
        Settings.from_env({name: value})

    allowed = advice.error.problem.partition(" must be ")[2].rpartition(", not ")[0]
    example = allowed.rpartition("such as ")[2].partition(" or ")[0]
    for env in ({name: example}, {}):
        Settings.from_env(env)


def test_a_secret_is_put_into_the_key_vault():
    """Azure then puts it in place of its reference when the app starts."""
    reference = "@Microsoft.KeyVault(VaultName=kv;SecretName=coolr)"

    with advised("Put the secret there, give the app's identity the role Key Vault Secrets User, and restart the app"):
        Settings.from_env({"COOLR_WEBHOOK_SECRET": reference})

    assert "s3cret" == Settings.from_env({"COOLR_WEBHOOK_SECRET": "s3cret"}).system("coolr").webhook_secret


def test_destinations_are_named_by_settings():
    """As the catalog writes them: in lower case."""
    found = Settings.from_env({"WAREHOUSE_URL": "duckdb:///a", "WAREHOUSE_URL_LAKE": "duckdb:///b"})

    assert {"lake": "duckdb:///b"} == found.destinations
    assert ("duckdb:///a", "duckdb:///b") == tuple(found.of_destination(n).warehouse_url for n in ("main", "lake"))
    assert "duckdb:///b" not in repr(found)


@pytest.mark.parametrize("name", ["MAIN", "2", "A-B", "_X"])
def test_a_destination_has_a_name_that_the_catalog_can_write(name):
    with advised(
        "Call it by a letter and then letters, digits and _, such as WAREHOUSE_URL_LAKE; main is WAREHOUSE_URL"
    ):
        Settings.from_env({f"WAREHOUSE_URL_{name}": "duckdb:///b"})

    assert Settings.from_env({"WAREHOUSE_URL_LAKE": "duckdb:///b"}).of_destination("lake")
    assert "duckdb:///b" == Settings.from_env({"WAREHOUSE_URL": "duckdb:///b"}).of_destination("main").warehouse_url


@pytest.mark.parametrize(
    "env",
    [
        {"WAREHOUSE_URL": "duckdb:///a", "WAREHOUSE_URL_B": "duckdb:///a"},
        {"WAREHOUSE_URL_A": "duckdb:///x", "WAREHOUSE_URL_B": "duckdb:///x"},
        {"WAREHOUSE_URL_A": "duckdb:///.sluice/warehouse.duckdb"},
    ],
)
def test_each_destination_has_a_database_of_its_own(env):
    """Two that write the same tables would undo each other's deletions."""
    with advised("Give each destination a database of its own"):
        Settings.from_env(env)

    assert Settings.from_env({**env, **dict.fromkeys(env, ""), [*env][-1]: "duckdb:///new"})


def test_a_destination_gets_its_setting():
    with advised("Set {} to the URL of its warehouse, or name another destination") as advice:
        Settings.from_env({"WAREHOUSE_URL_DEPOT": "duckdb:///b"}).of_destination("lake")

    assert Settings.from_env({advice.values[0]: "duckdb:///b"}).of_destination("lake")
    assert Settings.from_env({"WAREHOUSE_URL_DEPOT": "duckdb:///b"}).of_destination("depot")


@pytest.mark.parametrize(
    ("advice", "url", "known"),
    [
        follows("Start it with {}", "mysql:///x", ("duckdb", "postgresql")),
        follows("Start it with {}, or give a connection string", "file.db", ("sqlite", CONNECTION_STRING)),
    ],
)
def test_a_url_starts_as_the_error_shows(advice, url, known):
    with advised(advice) as given:
        url_kind("WAREHOUSE_URL", url, known)

    for start in given.values[0].split(" or "):
        assert (start.removesuffix("://"), "x") == url_kind("WAREHOUSE_URL", f"{start}x", known)
    if CONNECTION_STRING in known:
        assert CONNECTION_STRING == url_kind("WAREHOUSE_URL", "AccountName=x", known)[0]


def test_each_system_has_settings_of_its_own():
    """By the system's name in capitals; others keep their defaults."""
    settings = Settings.from_env({"COOLR_CLIENT": "Acme", "COOLR_TIMEZONE": "Europe/Amsterdam", "CLIENT": "x"})

    assert SystemSettings(client="Acme", timezone="Europe/Amsterdam") == settings.system("coolr")
    assert SystemSettings() == settings.system("genius")


PARTS = {
    "GENIUS_DB_HOST": "db.test",
    "GENIUS_DB_NAME": "genius",
    "GENIUS_DB_USER": "me",
    "GENIUS_DB_PASSWORD": "p@s:s/%",
}


def test_the_url_of_a_database_is_made_of_its_parts():
    """The password is given as it is."""
    found = Settings.from_env(PARTS).system("genius")
    postgres = {"GENIUS_DB_TYPE": "postgresql", "GENIUS_DB_PORT": "5433", "GENIUS_DB_HOST": "::1"}

    assert "mysql://me:p%40s%3As%2F%25@db.test/genius" == found.database_url
    assert (
        "postgresql://me:p%40s%3As%2F%25@[::1]:5433/genius"
        == Settings.from_env({**PARTS, **postgres}).system("genius").database_url
    )
    assert "p@s" not in repr(found)


@pytest.mark.parametrize("missing", list(PARTS))
def test_parts_of_a_url_that_are_missing_are_named(missing):
    """Only they."""
    with pytest.raises(ConfigError) as caught:
        Settings.from_env({name: value for name, value in PARTS.items() if name != missing})

    assert f"no value for {missing}" == caught.value.problem


def test_a_url_and_its_parts_are_not_both_set():
    """Either could be the one that was meant."""
    with pytest.raises(ConfigError, match="GENIUS_DATABASE_URL is set, and so is GENIUS_DB_HOST, GENIUS_DB_NAME"):
        Settings.from_env({**PARTS, "GENIUS_DATABASE_URL": "mysql://a:b@c/d"})


def test_systems_may_have_names_with_marks_between():
    """The longest matching ending decides where the name ends."""
    settings = Settings.from_env({"MY_CRM_WEBHOOK_SECRET_OLD": "a", "MY_CRM_WEBHOOK_SECRET": "b", "MY_CRM_CLIENT": "c"})

    assert SystemSettings(client="c", webhook_secret="b", webhook_secret_old="a") == settings.system("my_crm")


def test_a_secret_that_the_key_vault_does_not_have_is_no_secret():
    """Its reference stays in the setting as text, which anybody could guess and sign with."""
    reference = "@Microsoft.KeyVault(VaultName=kv;SecretName=coolr)"

    with pytest.raises(ConfigError, match="COOLR_WEBHOOK_SECRET could not be read from the key vault"):
        Settings.from_env({"COOLR_WEBHOOK_SECRET": reference})


def test_an_unknown_trigger_source_becomes_the_default():
    """An error there would hide every function; reading all settings refuses it later."""
    assert "EventGrid" == trigger_source({})
    assert "LogsAndContainerScan" == trigger_source({"BLOB_TRIGGER_SOURCE": "LogsAndContainerScan"})
    assert "EventGrid" == trigger_source({"BLOB_TRIGGER_SOURCE": "Poling"})
    with pytest.raises(
        ConfigError, match="BLOB_TRIGGER_SOURCE must be EventGrid or LogsAndContainerScan, not 'Poling'"
    ):
        Settings.from_env({"BLOB_TRIGGER_SOURCE": "Poling"})


def test_secrets_do_not_show():
    """A URL may hold a password; no repr may."""
    secrets = {"WAREHOUSE_URL": "mssql://me:hush@host/db", "LEDGER_URL": "x?sig=hush", "ALERT_URL": "https://x/hush"}
    systems = {"COOLR_WEBHOOK_SECRET": "hush", "COOLR_WEBHOOK_SECRET_OLD": "hush", "GENIUS_DATABASE_URL": "hush"}
    shown = repr(Settings.from_env({**secrets, **systems}))

    assert "hush" not in shown


def test_zones_are_checked():
    """A misspelt zone would shift every timestamp by hours, silently."""
    assert "Europe/Amsterdam" == zone("Europe/Amsterdam")
    with pytest.raises(ConfigError, match="there is no time zone 'Europe/Amstredam' here"):
        zone("Europe/Amstredam")


def test_sample_has_every_setting():
    """It is the list of what can be set."""
    sample = json.loads(SAMPLE.read_text())["Values"]
    by_the_host = {"WEBSITE_HOSTNAME"}  # Core Tools set it, and refuse a file that has it already

    assert by_the_host.isdisjoint(sample)
    assert {f.name.upper() for f in fields(Settings) if "read" in f.metadata} - by_the_host <= sample.keys()


def test_sample_gives_the_defaults():
    """Copying the sample changes nothing."""
    assert Settings.from_env({}) == Settings.from_env(json.loads(SAMPLE.read_text())["Values"])
