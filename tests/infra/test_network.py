"""With ``privateNetwork`` nothing but the app is reached from outside, and the app reaches everything from inside."""

from __future__ import annotations

import re

from tests.infra.template import arguments, block, main, module, resource


def test_everything_that_the_app_calls_has_a_private_endpoint():
    """Each service of the account, the database, the vault; with the zone that resolves its name."""
    found = re.findall(r"group: '(\w+)', zone: '([^']+)'", module("network"))

    suffix = "${storageSuffix}"
    storage = {service: f"privatelink.{service}.{suffix}" for service in ("blob", "queue", "table", "dfs")}
    assert storage | {
        "sqlServer": "privatelink${environment().suffixes.sqlServerHostname}",
        "vault": "privatelink.vaultcore.azure.net",
    } == dict(found)


def test_new_resources_are_closed_with_it():
    """Azure's services that write dead letters or read staged parts still come in, by their identities."""
    for name in ("account", "vault"):
        rules = block(module(name), "networkAcls: {")
        assert "defaultAction: privateNetwork ? 'Deny' : 'Allow'" in rules
        assert "bypass: 'AzureServices'" in rules
    assert "privateNetwork && empty(allowedAddresses) ? 'Disabled' : 'Enabled'" in resource(module("server"), "server")
    assert "= if (!privateNetwork) {" in block(module("server"), "resource admitAzure ")


def test_subnet_of_the_app_is_what_flex_consumption_needs():
    """It is delegated to it, and the app gets it."""
    assert "serviceName: 'Microsoft.App/environments'" in resource(module("network"), "network")
    assert "privateNetwork ? network.outputs.appSubnetId : ''" == arguments("app")["subnetId"]
    assert "virtualNetworkSubnetId: empty(subnetId) ? null : subnetId" in resource(module("app"), "functionApp")


def test_defaults_are_open_and_in_one_zone():
    """A first deployment needs neither a network nor a region with zones."""
    assert "\nparam privateNetwork bool = false\n" in main()
    assert "\nparam zoneRedundant bool = false\n" in main()


def test_zones_are_one_parameter():
    """Storage, database and app follow it."""
    assert "zoneRedundant ? 'Standard_ZRS' : 'Standard_LRS'" in module("account")
    assert {"zoneRedundant: zoneRedundant"} <= set(re.findall(r"zoneRedundant: zoneRedundant", module("database")))
    assert "zoneRedundant: zoneRedundant" in resource(module("app"), "plan")
    assert all("zoneRedundant" in arguments(symbol) for symbol in ("newAccount", "database", "app"))


def test_audit_is_kept_without_rows():
    """Who signed in and who changed rights; statements, which have values of rows, only if they are wanted."""
    audit = resource(module("server"), "auditing")

    assert "state: 'Enabled'" in audit
    assert "auditStatements ? ['BATCH_COMPLETED_GROUP'] : []" in audit
    assert "BATCH_COMPLETED_GROUP" not in block(module("server"), "var auditedGroups = [")
    assert "category: 'SQLSecurityAuditEvents'" in resource(module("server"), "auditTarget")
    assert "\nparam sqlAuditStatements bool = false\n" in main()
