"""Each setting of the app is deployed, or left out on purpose; and no other is."""

from __future__ import annotations

import json
import re

from dataclasses import fields

import pytest

from shared.settings import Settings, SystemSettings
from tests.infra.template import APP, ROOT, SAMPLE, bicep, containers, deployed, main

SECRET = {
    "ALERT_URL", "DOWNSTREAM_URL", "HASH_KEY", "KEEP_OUT_KEY", "SFTP_KEY_PASSPHRASE", "SFTP_PASSWORD",
    "SNOWFLAKE_PRIVATE_KEY", "SNOWFLAKE_PRIVATE_KEY_PASSPHRASE", "SNOWFLAKE_TOKEN", "STORAGE_CONNECTION_STRING",
}  # fmt: skip
"""Settings that come from the key vault, where they are wanted."""
TUNING = {
    "ALERT_REPEAT", "BATCH_ROWS", "BATCH_SIZE", "CURSOR_AHEAD", "KEEP_JOBS", "LAKE_KEEP", "SETTLE", "SLICE_ROWS",
    "SOURCE_CONNECTIONS", "STAGING_DATA_SOURCE", "STUCK_AFTER", "SYNC_ROWS", "SYNC_STEP", "SYNC_TABLES",
    "TELEMETRY", "WAREHOUSE_CONNECTIONS", "WAREHOUSE_LOADER", "PUBLIC_URL", "WEBHOOK_GROUP", "WEBHOOK_MAX_AGE",
    "WEBHOOK_MAX_BYTES",
}  # fmt: skip
"""Settings whose defaults are right in Azure too; ``extraSettings`` changes them."""
ELSEWHERE = {
    "CATALOG_PATH", "SFTP_KEY_FILE", "SFTP_KNOWN_HOSTS", "STAGING_SPOOL", "WAREHOUSE_LOCK_TIMEOUT", "WAREHOUSE_MEMORY",
    "WEBSITE_HOSTNAME",
}  # fmt: skip
"""Settings for other hosts: folders and files, the embedded warehouse, and the name that Azure sets itself."""


def test_every_setting_is_deployed_or_left_out_on_purpose():
    """Whoever adds one decides where it comes from in Azure."""
    known = {field.name.upper() for field in fields(Settings) if "read" in field.metadata}

    assert known == (deployed().keys() & known) | SECRET | TUNING | ELSEWHERE
    assert set() == deployed().keys() & (SECRET | TUNING | ELSEWHERE)


def test_every_setting_that_is_deployed_is_read():
    """By the app, by host.json and the triggers, or by the host itself."""
    system = {f"COOLR_{field.name.upper()}" for field in fields(SystemSettings)}
    bindings = set(re.findall(r"%(\w+)%", APP + (ROOT / "host.json").read_text()))
    hosts = re.compile(r"(AzureWebJobsStorage|ExportsStorage)__\w+|APPLICATIONINSIGHTS_\w+|AZURE_CLIENT_ID|PYTHON_\w+")
    known = {field.name.upper() for field in fields(Settings)} | system | bindings

    assert [] == [name for name in deployed() if name not in known and not hosts.fullmatch(name)]


def test_settings_of_bindings_are_deployed():
    """A timer whose schedule is missing is left out when the app starts."""
    wanted = set(re.findall(r"%(\w+)%", APP + (ROOT / "host.json").read_text()))

    assert wanted == wanted & deployed().keys()


@pytest.mark.parametrize(
    "name",
    [
        "SYNC_SCHEDULE",
        "RECONCILE_SCHEDULE",
        "WATCHDOG_SCHEDULE",
        "UPKEEP_SCHEDULE",
        "TASKHUB_NAME",
        "ALERT_FORMAT",
        "ALERT_ON",
    ],
)
def test_deployed_default_is_that_of_the_sample(name):
    """What a laptop does, Azure does."""
    parameter = deployed()[name]

    assert f"param {parameter} string = '{SAMPLE[name]}'" in main()


@pytest.mark.parametrize(("parameter", "name"), [("alertFormat", "ALERT_FORMAT"), ("alertOn", "ALERT_ON")])
def test_choices_of_the_deployment_are_those_of_the_app(parameter, name):
    """A word that the template takes, the app reads."""
    listed = re.search(rf"@allowed\((\[[^]]*\])\)\nparam {parameter} ", main())[1]
    words = re.findall(r"'(\w+)'", listed)

    assert words
    assert words == [getattr(Settings.from_env({name: word}), name.lower()) for word in words]


def test_host_signs_in_to_its_storage_and_that_of_the_exports():
    """All that a connection by identity needs; a blob trigger does not start without the address of the queues."""
    connections = re.findall(r'connection="(\w+)"', APP)

    assert ["ExportsStorage"] == connections
    for connection in ("AzureWebJobsStorage", *connections):
        assert "'managedidentity'" == deployed()[f"{connection}__credential"]
        assert "identity.properties.clientId" == deployed()[f"{connection}__clientId"]
        assert "storage.outputs.blobs" == deployed()[f"{connection}__blobServiceUri"]
        assert "storage.outputs.queues" == deployed()[f"{connection}__queueServiceUri"]
    assert "storage.outputs.tables" == deployed()["AzureWebJobsStorage__tableServiceUri"]


def test_host_learns_of_exports_by_events():
    """Flex Consumption refuses an app that polls for blobs."""
    assert "'EventGrid'" == deployed()["BLOB_TRIGGER_SOURCE"]


@pytest.mark.parametrize(
    ("name", "container"),
    [
        ("EXPORTS_URL", "exports"),
        ("STAGING_URL", "staging"),
        ("STATE_URL", "state"),
        ("DEAD_LETTER_URL", "dead-letters"),
    ],
)
def test_each_url_is_a_container_that_is_made(name, container):
    """And is no one else's: no two settings share one."""
    assert f"'${{storage.outputs.blobs}}{container}'" == deployed()[name]
    assert container in containers()


def test_secrets_named_to_operators_exist():
    """A misspelt one would be set and read by nobody."""
    described = re.search(r"@description\('([^']*)'\)\nparam secretSettings ", main())[1]
    named = set(re.findall(r"\b[A-Z]{2,}(?:_[A-Z]+)+\b", described))
    secret = [field.name.upper() for field in fields(SystemSettings) if not field.repr]
    system = {f"{name}_{field}" for name in ("COOLR", "HUBSPOT") for field in secret}

    assert {"COOLR_WEBHOOK_SECRET", "ALERT_URL", "DOWNSTREAM_URL"} <= named
    assert named <= SECRET | system


def test_settings_that_flex_consumption_refuses_are_not_deployed():
    """Runtime, version, build and scale stand in functionAppConfig; there is no time zone but UTC."""
    refused = re.compile(
        r"FUNCTIONS_EXTENSION_VERSION|FUNCTIONS_WORKER_\w+|FUNCTIONS_MAX_HTTP_CONCURRENCY|ENABLE_ORYX_BUILD"
        r"|SCM_DO_BUILD_DURING_DEPLOYMENT|WEBSITE_\w+"
    )

    assert [] == [found for text in bicep().values() for found in refused.findall(text)]


def test_settings_that_refer_to_secrets_are_json():
    """Written as text, for want of lambdas: with values put in, it has one member for each."""
    values = {"one.key": "lake", "setting.key": "ALERT_URL", "setting.value": "alert", "one.value": "lake-url",
              "toUpper(one.key)": "LAKE", "vaultName": "kv"}  # fmt: skip
    (reference,) = re.findall(r"^var secretReference = '(.+)'$", main(), re.MULTILINE)
    pairs = re.findall(r"^var (\w+)Pairs = \[for \w+ in items\(\w+\): '(.+)'\]$", main(), re.MULTILINE)
    whole = {name: re.search(rf"^var {name}References = json\('(.+)'\)$", main(), re.M)[1] for name, _ in pairs}

    def filled(text):
        return re.sub(r"\$\{([^}]+)\}", lambda found: values[found[1]], text.replace("${secretReference}", reference))

    made = [json.loads(whole[name].replace(f"${{join({name}Pairs, ',')}}", filled(pair))) for name, pair in pairs]

    prefix = "@Microsoft.KeyVault(VaultName=kv;SecretName="
    assert [{"ALERT_URL": f"{prefix}alert)"}, {"WAREHOUSE_URL_LAKE": f"{prefix}lake-url)"}] == made
