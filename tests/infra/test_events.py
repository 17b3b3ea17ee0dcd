"""Events of arrived files lead from the storage account to the function of the blob trigger, and from nowhere else."""

from __future__ import annotations

import re

from tests.infra.template import APP, arguments, bicep, block, containers, lines, main, module, resource, words


def test_events_lead_to_the_function_of_the_blob_trigger():
    """A name that the host does not know is answered with 404, and the deployment fails."""
    function = re.search(r"@app\.blob_trigger\(.*?async def (\w+)", APP, re.DOTALL)[1]

    assert f"/runtime/webhooks/blobs?functionName=Host.Functions.{function}&code=${{blobsKey}}'" in module("events")


def test_events_are_of_the_container_of_the_blob_trigger():
    """What lies elsewhere would fill the trigger's queue, the app's own state with it."""
    container = re.search(r'path="([^"/]+)/\{name\}"', APP)[1]

    assert f"'{container}'" == arguments("events")["exportsContainerName"]
    assert container in containers()
    assert "subjectBeginsWith: '/blobServices/default/containers/${exportsContainerName}/'" in lines(module("events"))


def test_events_are_of_whole_files():
    """An account with folders announces each file twice, at first empty."""
    filter = block(module("events"), "filter: {")

    assert ["Microsoft.Storage.BlobCreated"] == words(filter, "includedEventTypes")
    assert ["CopyBlob", "PutBlob", "PutBlockList", "FlushWithClose"] == words(filter, "values")
    assert {"key: 'data.api'", "operatorType: 'StringIn'"} <= lines(filter)


def test_events_of_any_ending_are_sent():
    """Event Grid knows one ending, and the app takes .parquet however it is written."""
    assert "subjectEndsWith" not in module("events")


def test_delivery_is_tried_for_a_day_and_kept_then():
    """As long as Event Grid can."""
    subscription = resource(module("events"), "subscription")

    assert {"maxDeliveryAttempts: 30", "eventTimeToLiveInMinutes: 1440"} <= lines(subscription)
    assert {"endpointType: 'StorageBlob'", "blobContainerName: deadLettersContainerName"} <= lines(subscription)
    assert "'dead-letters'" == arguments("events")["deadLettersContainerName"]
    assert "dead-letters" in containers()


def test_topic_may_write_dead_letters_and_nothing_else():
    """By an identity of its own, before anything refers to it: the account takes no keys."""
    role = lines(resource(module("events"), "topicWritesDeadLetters"))

    assert "type: 'SystemAssigned'" in lines(resource(module("events"), "newTopic"))
    assert {"scope: deadLettersContainer", "principalId: topic.identity.principalId"} <= role
    assert "topicWritesDeadLetters" in lines(resource(module("events"), "subscription"))


def test_subscription_waits_for_the_second_deployment():
    """Its key exists once the code has run; a list function is evaluated even for what is not deployed."""
    listing = [line for text in bicep().values() for line in text.splitlines() if "listKeys(" in line]

    assert "\nparam eventSubscription bool = false\n" in main()
    assert "eventSubscription" == arguments("events")["subscribe"]
    assert re.search(r"^resource subscription '[^']+' = if \(subscribe\) \{$", module("events"), re.MULTILINE)
    assert 1 == len(listing)
    assert listing[0].startswith("var blobsKey = subscribe ? listKeys(")
    assert listing[0].endswith(".systemKeys.blobs_extension : ''")


def test_subscription_waits_for_the_settings():
    """A restart would break the handshake off."""
    assert "app.outputs.host" == arguments("events")["functionAppHost"]
    assert "settings" in block(module("app"), "resource functionSettings ")
