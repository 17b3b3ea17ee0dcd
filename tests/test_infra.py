"""The deployment says what the app needs: read as text, for there is no compiler of Bicep in Python."""

from __future__ import annotations

import json
import re
import subprocess

from dataclasses import fields
from itertools import chain
from pathlib import Path

import pytest

from shared.settings import Settings, SystemSettings

ROOT = Path(__file__).parents[1]
INFRA = ROOT / "infra"
TEMPLATES = sorted(path.relative_to(INFRA).as_posix() for path in INFRA.rglob("*.bicep"))
SAMPLE = json.loads((ROOT / "local.settings.sample.json").read_text())["Values"]
APP = (ROOT / "function_app.py").read_text(encoding="utf-8")
GUIDE = (ROOT / "docs" / "deploying.md").read_text(encoding="utf-8")

SECRET = {
    "ALERT_URL", "DOWNSTREAM_URL", "KEEP_OUT_KEY", "SFTP_KEY_PASSPHRASE", "SFTP_PASSWORD", "STORAGE_CONNECTION_STRING",
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

ROLES = {
    "Storage Blob Data Owner": "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
    "Storage Blob Data Reader": "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1",
    "Storage Queue Data Contributor": "974c5e8b-45b9-4653-ba55-5f855dd0fb88",
    "Storage Table Data Contributor": "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
    "Monitoring Metrics Publisher": "3913510d-42f4-4e42-8a64-420c390055eb",
    "Key Vault Secrets User": "4633458b-17de-408a-b874-0445c86b69e6",
    "Storage Blob Data Contributor": "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
}


# -- settings


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
        assert "blobs" == deployed()[f"{connection}__blobServiceUri"]
        assert "storage.properties.primaryEndpoints.queue" == deployed()[f"{connection}__queueServiceUri"]
    assert "storage.properties.primaryEndpoints.table" == deployed()["AzureWebJobsStorage__tableServiceUri"]


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
    symbol = re.fullmatch(r"'\$\{blobs\}\$\{(\w+)\.name\}'", deployed()[name])[1]

    assert container == containers()[symbol]


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


# -- events


def test_events_lead_to_the_function_of_the_blob_trigger():
    """A name that the host does not know is answered with 404, and the deployment fails."""
    function = re.search(r"@app\.blob_trigger\(.*?async def (\w+)", APP, re.DOTALL)[1]

    assert f"/runtime/webhooks/blobs?functionName=Host.Functions.{function}&code=${{blobsKey}}'" in events()


def test_events_are_of_the_container_of_the_blob_trigger():
    """What lies elsewhere would fill the trigger's queue, the app's own state with it."""
    container = re.search(r'path="([^"/]+)/\{name\}"', APP)[1]
    symbol = argument("exportsContainerName").removesuffix(".name")

    assert container == containers()[symbol]
    assert "/blobServices/default/containers/${exportsContainerName}/" == quoted("subjectBeginsWith")


def test_events_are_of_whole_files():
    """An account with folders announces each file twice, at first empty."""
    filter = block(events(), "filter: {")

    assert ["Microsoft.Storage.BlobCreated"] == words(filter, "includedEventTypes")
    assert ["CopyBlob", "PutBlob", "PutBlockList", "FlushWithClose"] == words(filter, "values")
    assert ("data.api", "StringIn") == (quoted("key"), quoted("operatorType"))


def test_events_of_any_ending_are_sent():
    """Event Grid knows one ending, and the app takes .parquet however it is written."""
    assert "subjectEndsWith" not in events()


def test_delivery_is_tried_for_a_day_and_kept_then():
    """As long as Event Grid can."""
    subscription = resource(events(), "subscription")

    assert {"maxDeliveryAttempts: 30", "eventTimeToLiveInMinutes: 1440"} <= lines(subscription)
    assert {"endpointType: 'StorageBlob'", "blobContainerName: deadLettersContainerName"} <= lines(subscription)
    assert "dead-letters" == containers()[argument("deadLettersContainerName").removesuffix(".name")]


def test_topic_may_write_dead_letters_and_nothing_else():
    """By an identity of its own, before anything refers to it: the account takes no keys."""
    role = lines(resource(events(), "topicWritesDeadLetters"))

    assert "type: 'SystemAssigned'" in lines(resource(events(), "topic"))
    assert {"scope: deadLettersContainer", "principalId: topic.identity.principalId"} <= role
    assert ["Storage Blob Data Contributor"] == [name for name, id in ROLES.items() if id in events()]
    assert "topicWritesDeadLetters" in lines(resource(events(), "subscription"))


def test_subscription_waits_for_the_second_deployment():
    """Its key exists once the code has run; a list function is evaluated even for what is not deployed."""
    listing = [line for text in bicep().values() for line in text.splitlines() if "listKeys(" in line]

    assert "\nparam eventSubscription bool = false\n" in main()
    assert "eventSubscription" == argument("subscribe")
    assert re.search(r"^resource subscription '[^']+' = if \(subscribe\) \{$", events(), re.MULTILINE)
    assert 1 == len(listing)
    assert listing[0].startswith("var blobsKey = subscribe ? listKeys(")
    assert listing[0].endswith(".systemKeys.blobs_extension : ''")


def test_subscription_waits_for_the_settings():
    """A restart would break the handshake off."""
    module = main()[main().index("module events ") :]

    assert "functionSettings" in lines(module[: module.index("\n}\n")])


def test_operators_are_alerted_of_events_that_do_not_arrive():
    """The watchdog cannot notice that its app is down."""
    assert {"DeliveryAttemptFailCount", "DeadLetteredCount"} == set(re.findall(r"metric: '(\w+)'", events()))


# -- storage and access


def test_nothing_signs_in_with_a_key_or_a_password():
    """Identities alone: there is nothing to leak, and nothing to rotate."""
    text = main()

    assert ["false"] == re.findall(r"allowSharedKeyAccess: (\w+)", text)
    assert ["false"] == re.findall(r"allowBlobPublicAccess: (\w+)", text)
    assert ["true"] == re.findall(r"azureADOnlyAuthentication: (\w+)", text)
    assert ["true"] == re.findall(r"DisableLocalAuth: (\w+)", text)
    assert [] == re.findall(
        r"AccountKey|administratorLoginPassword|listAccountSas|keys\[0\]", "".join(bicep().values())
    )


def test_no_container_is_public():
    """Some hold links that sign in whoever has them."""
    bodies = [resource(main(), symbol) for symbol in containers()]

    assert bodies
    assert ["publicAccess: 'None'"] * len(bodies) == [next(iter(lines(b) & {"publicAccess: 'None'"})) for b in bodies]


def test_roles_are_those_of_the_app_and_no_more():
    """Ids are the same in every tenant; a wrong one fails late, or lets in too far."""
    granted = set(re.findall(r"'([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})'", "".join(bicep().values())))

    assert granted == set(ROLES.values())


def test_every_role_in_the_list_is_granted():
    """The list is what is granted, not what once was."""
    listed = re.findall(r"^  (\w+): '[0-9a-f-]{36}'$", main(), re.MULTILINE)

    assert listed
    assert [] == [name for name in listed if f"roles.{name}" not in main()]


def test_app_may_use_blobs_queues_and_tables():
    """The host's own state, the trigger's queue and its poison queue, Durable's history and the ledger."""
    granted = re.findall(r"^  roles\.(\w+)", main(), re.MULTILINE)

    assert ["blobDataOwner", "queueDataContributor", "tableDataContributor"] == granted


def test_rules_that_delete_old_blobs_name_containers_that_are_made():
    """A rule for a name that does not exist deletes nothing."""
    assert {"dead-letters", "staging"} == kept().keys()
    assert kept().keys() <= set(containers().values())
    assert "prefixMatch: ['${kept.key}/']" in main()


def test_dead_letters_are_deleted_before_their_alert_is_forgotten():
    """Or the watchdog would send it again. Azure deletes a day or two late."""
    assert (kept()["dead-letters"] + 3) * 86_400 <= Settings.from_env({}).keep_jobs


# -- the function app


def test_instance_is_kept_ready_for_jobs():
    """Without it they wait for a cold start, and there were reports of waiting without end."""
    assert "\nparam alwaysReadyDurable int = 1\n" in main()
    assert "{ name: 'durable', instanceCount: alwaysReadyDurable }" in lines(main())
    assert "alwaysReady: concat(readyForJobs, readyForBlobs)" in lines(resource(main(), "functionApp"))


def test_container_of_the_code_is_made_before_the_app():
    """A reference to its name is what makes the one wait for the other."""
    assert "app-package" == containers()["deploymentContainer"]
    assert "value: '${blobs}${deploymentContainer.name}'" in lines(resource(main(), "functionApp"))


def test_identity_has_its_roles_before_the_app_is_made():
    """It reads its code and its secrets as soon as it exists."""
    assert {"storageAccess", "keyVaultAccess", "insightsAccess"} <= lines(resource(main(), "functionApp"))


# -- the templates themselves


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_parameter_and_output_is_described(template):
    """An operator learns from the template what to give, and what comes out."""
    text = bicep()[template].splitlines()
    named = [n for n, line in enumerate(text) if line.startswith(("param ", "output "))]

    assert named
    assert [] == [text[n] for n in named if not decorated(text, n)]


@pytest.mark.parametrize("template", TEMPLATES)
def test_everything_with_a_name_is_used(template):
    """A parameter that changes nothing is a promise; resources and outputs stand for themselves."""
    text = re.sub(r"(?<!:)//.*|@description\('.*'\)", "", bicep()[template])
    names = re.findall(r"^(?:param|var) (\w+)", text, re.MULTILINE)

    assert names
    assert [] == [name for name in names if len(re.findall(rf"\b{name}\b", text)) < 2]


def test_modules_get_every_parameter():
    """Nothing less, nothing else; and every module is used."""
    called = dict(re.findall(r"^module (\w+) '([\w/.]+)'", main(), re.MULTILINE))

    assert {"main.bicep", *called.values()} == set(TEMPLATES)
    for path in called.values():
        assert re.findall(r"^param (\w+)", bicep()[path], re.MULTILINE) == list(arguments())


@pytest.mark.parametrize("template", TEMPLATES)
def test_template_can_be_parsed(template):
    """By a grammar of Bicep, where one is installed: tree-sitter and tree-sitter-bicep."""
    library = pytest.importorskip("tree_sitter", reason="no parser here: tree-sitter is not installed")
    grammar = pytest.importorskip("tree_sitter_bicep", reason="no grammar of Bicep here: tree-sitter-bicep is missing")
    parser = library.Parser(library.Language(grammar.language()))

    assert not parser.parse(bicep()[template].encode()).root_node.has_error


@pytest.mark.parametrize("template", TEMPLATES)
def test_scanners_can_read_the_template(template):
    """Their parser, pycep, knows no lambda; checkov passes over a file that it cannot read without a word."""
    parser = pytest.importorskip("pycep", reason="no parser of scanners here: pycep-parser is not installed")
    found = parser.BicepParser().parse(text=bicep()[template])

    named = re.findall(r"^resource (\w+) ", bicep()[template], re.MULTILINE)
    assert named
    assert {*named} == {*found["resources"]}


def test_every_suppressed_rule_has_a_reason_in_its_place():
    """By checkov's comment, in the resource that it is about; or in its configuration, where comments do not count."""
    inside = re.findall(r"^  // checkov:skip=(CKV_AZURE_\d+): (\S+ .+)$", main(), re.MULTILINE)
    beside = re.findall(r"^  - (CKV_AZURE_\d+) # (\S+ .+)$", (INFRA / "checkov.yaml").read_text(), re.MULTILINE)

    assert len(inside) == "".join(bicep().values()).count("checkov:skip")
    assert len(beside) == (INFRA / "checkov.yaml").read_text().count("  - ")
    assert set() == {rule for rule, _ in inside} & {rule for rule, _ in beside}


def test_settings_that_refer_to_secrets_are_json():
    """Written as text, for want of lambdas: with values put in, it has one member for each."""
    values = {"one.key": "lake", "setting.key": "ALERT_URL", "setting.value": "alert", "one.value": "lake-url",
              "toUpper(one.key)": "LAKE", "keyVault.name": "kv"}  # fmt: skip
    (reference,) = re.findall(r"^var secretReference = '(.+)'$", main(), re.MULTILINE)
    pairs = re.findall(r"^var (\w+)Pairs = \[for \w+ in items\(\w+\): '(.+)'\]$", main(), re.MULTILINE)
    whole = {name: re.search(rf"^var {name}References = json\('(.+)'\)$", main(), re.M)[1] for name, _ in pairs}

    def filled(text):
        return re.sub(r"\$\{([^}]+)\}", lambda found: values[found[1]], text.replace("${secretReference}", reference))

    made = [json.loads(whole[name].replace(f"${{join({name}Pairs, ',')}}", filled(pair))) for name, pair in pairs]

    prefix = "@Microsoft.KeyVault(VaultName=kv;SecretName="
    assert [{"ALERT_URL": f"{prefix}alert)"}, {"WAREHOUSE_URL_LAKE": f"{prefix}lake-url)"}] == made


# -- the guide


def test_guide_deploys_twice():
    """Resources, code, events; the last in a loop, for the key comes late."""
    first, code, second = (
        GUIDE.index(words) for words in ("\ndeploy\n", "func azure", "deploy eventSubscription=true")
    )

    assert first < code < second
    assert "systemKeys.blobs_extension" in GUIDE


def test_guide_gives_parameters_that_exist():
    """In the file, and beside it."""
    (given,) = (json.loads(text)["parameters"] for text in code("json"))
    beside = re.findall(r"`?\bdeploy (\w+)=", GUIDE)
    wanted = set(re.findall(r"^param (\w+) \w+$", main(), re.MULTILINE))

    assert {"eventSubscription", "taskHubName"} == set(beside)
    assert set(beside) | given.keys() <= set(re.findall(r"^param (\w+)", main(), re.MULTILINE))
    assert wanted <= given.keys()


def test_guide_reads_outputs_that_exist():
    """An output that does not exist is read as nothing."""
    read = set(re.findall(r"[(`]output (\w+)", GUIDE))

    assert read
    assert read <= set(re.findall(r"^output (\w+)", main(), re.MULTILINE))


def test_guide_names_settings_that_exist():
    """Of the app, of CoolR, or of the host; and variables of the workflow that deploys."""
    known = {field.name.upper() for field in fields(Settings)}
    known |= {f"COOLR_{field.name.upper()}" for field in fields(SystemSettings)}
    known |= {*re.findall(r"\bvars\.(\w+)", (ROOT / ".github/workflows/deploy.yml").read_text())}

    assert set(re.findall(r"\b[A-Z]{2,}(?:_[A-Z]+)+\b", GUIDE)) <= known


def test_commands_of_the_guide_are_shell():
    """They can be pasted; nothing is run here."""
    script = "\n".join(code("bash"))
    checked = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)

    assert ("", 0) == (checked.stderr, checked.returncode)


def bicep():
    """The text of each template by its path."""
    return {name: (INFRA / name).read_text(encoding="utf-8") for name in TEMPLATES}


def main():
    return bicep()["main.bicep"]


def events():
    return bicep()["modules/events.bicep"]


def deployed():
    """What each deployed setting is set to, as an expression: a parameter by its name, a text in quotes."""
    bodies = re.findall(r"^var \w+Settings = \{\n(.*?)^\}", main(), re.MULTILINE | re.DOTALL)
    found = [re.findall(r"^  (\w+): (.+?)(?: //.*)?$", body, re.MULTILINE) for body in bodies]

    assert 2 == len(found)
    return dict(chain.from_iterable(found))


def containers():
    """The name of each container by its symbol."""
    return dict(
        re.findall(r"^resource (\w+) '[^']+/containers@[^']+' = \{\n  parent: \w+\n  name: '([\w-]+)'", main(), re.M)
    )


def kept():
    """After how many days the content of a container is deleted."""
    found = re.findall(r"^  '?([\w-]+)'?: (\d+)", block(main(), "var daysKept = {"), re.MULTILINE)
    return {name: int(days) for name, days in found}


def resource(text, symbol):
    """The body of a resource."""
    return block(text, f"resource {symbol} ")


def block(text, start):
    """From the line in which *start* stands to the first that closes it."""
    rest = text[text.index(start) :]
    indent = re.search(r"^ *", text[text.rfind("\n", 0, text.index(start)) + 1 :])[0]
    return rest[: rest.index(f"\n{indent}}}\n")]


def lines(text):
    return {line.partition(" //")[0].strip() for line in text.splitlines()}


def words(text, name):
    """The texts of a list."""
    return re.findall(r"'([^']+)'", re.search(rf"\b{name}: \[([^]]*)\]", text)[1])


def quoted(name):
    """The one text of that name in the template of events."""
    (text,) = re.findall(rf"^ +{name}: '([^']*)'", block(events(), "filter: {"), re.MULTILINE)
    return text


def arguments():
    """What the module of events is given."""
    return dict(re.findall(r"^    (\w+): (.+)$", block(main(), "module events "), re.MULTILINE))


def argument(name):
    return arguments()[name]


def code(language):
    """The blocks of code in the guide."""
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)


def decorated(text, at):
    """Whether the decorators right above line `at` hold a description."""
    above = at - 1
    while text[above].startswith("@"):
        if text[above].startswith("@description("):
            return True
        above -= 1
    return False
