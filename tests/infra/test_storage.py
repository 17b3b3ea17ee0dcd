"""What the storage account keeps, for how long, and that nobody signs in with a key."""

from __future__ import annotations

import re

from shared.settings import Settings
from tests.infra.template import containers, everything, kept, lines, module, resource


def test_nothing_signs_in_with_a_key_or_a_password():
    """Identities alone: there is nothing to leak, and nothing to rotate."""
    text = everything()

    assert ["false"] == re.findall(r"allowSharedKeyAccess: (\w+)", text)
    assert ["false"] == re.findall(r"allowBlobPublicAccess: (\w+)", text)
    assert ["true"] == re.findall(r"azureADOnlyAuthentication: (\w+)", text)
    assert ["true"] == re.findall(r"DisableLocalAuth: (\w+)", text)
    assert [] == re.findall(r"AccountKey|administratorLoginPassword|listAccountSas|keys\[0\]", text)


def test_no_container_is_public():
    """Some hold links that sign in whoever has them."""
    assert "publicAccess: 'None'" in lines(resource(module("storage"), "containers"))
    assert {"exports", "staging", "state", "dead-letters", "app-package"} == set(containers())


def test_rules_that_delete_old_blobs_name_containers_that_are_made():
    """A rule for a name that does not exist deletes nothing."""
    assert {"dead-letters", "staging"} == kept().keys()
    assert kept().keys() <= set(containers())
    assert "prefixMatch: ['${kept.key}/']" in module("account")


def test_dead_letters_are_deleted_before_their_alert_is_forgotten():
    """Or the watchdog would send it again. Azure deletes a day or two late."""
    assert (kept()["dead-letters"] + 3) * 86_400 <= Settings.from_env({}).keep_jobs
