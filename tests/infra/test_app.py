"""The function app: what is kept ready, and what exists before it."""

from __future__ import annotations

import re

from tests.infra.template import arguments, block, containers, everything, lines, main, module, resource


def test_instance_is_kept_ready_for_jobs():
    """Without it they wait for a cold start, and there were reports of waiting without end."""
    assert "\nparam alwaysReadyDurable int = 1\n" in main()
    assert (
        "{ name: 'durable', instanceCount: zoneRedundant ? max(alwaysReadyDurable, 2) : alwaysReadyDurable }"
        in lines(module("app"))
    )
    assert "alwaysReady: concat(readyForJobs, readyForBlobs)" in lines(resource(module("app"), "functionApp"))


def test_container_of_the_code_is_made_before_the_app():
    """A reference to its name is what makes the one wait for the other."""
    assert "app-package" in containers()
    assert "'${storage.outputs.blobs}app-package'" == arguments("app")["packageUrl"]
    assert "value: packageUrl" in lines(resource(module("app"), "functionApp"))


def test_identity_has_its_roles_before_the_app_is_made():
    """It reads its code and its secrets as soon as it exists."""
    called = block(main(), "module app ")

    assert {"newVault", "secrets"} <= lines(called)
    assert {"storage.outputs.blobs", "telemetry.outputs.connectionString"} <= {
        *re.findall(r"\w+\.outputs\.\w+", main())
    }
    assert {"storageAccess", "insightsAccess"} <= {*re.findall(r"^resource (\w+Access) ", everything(), re.MULTILINE)}
