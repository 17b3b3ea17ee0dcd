"""The command: ``up`` deploys, ``down`` takes away, ``package`` builds only."""

from __future__ import annotations

import time

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import click
import requests

from infra.deploy import package as packages
from infra.deploy.azure import Azure, AzureError, DeployError
from infra.deploy.sign_in import register
from infra.deploy.steps import STEPS, Deployer, take_down
from infra.deploy.template import SAMPLE, Deployment, check_parameters, use_operator

_wait = time.sleep
_BUILD = packages.ROOT / "build" / "deploy"
_group = click.option("--group", required=True, envvar="AZURE_RESOURCE_GROUP", help="The resource group.")
_yes = click.option("--yes", is_flag=True, help="Ask nothing.")


@click.group()
def main() -> None:
    """Put Sluice into a resource group of Azure, or take it away. Sign in first: az login."""


@main.command()
@_group
@_yes
@click.option("--location", envvar="AZURE_LOCATION", help="The region, if the group has to be made.")
@click.option("--parameters", type=click.Path(path_type=Path), default=SAMPLE, help="A .bicepparam or .json file.")
@click.option(
    "--from", "first", type=click.Choice(list(STEPS)), default=next(iter(STEPS)), help="Begin with this step."
)
@click.option("--skip", type=click.Choice(list(STEPS)), multiple=True, help="Leave this step out.")
@click.option("--preview", is_flag=True, help="Only show what the template would change.")
@click.option("--client", help="Whose export the test file is, if COOLR_CLIENT is not set.")
@click.option(
    "--remote-build", is_flag=True, help="Let Azure install the libraries: it must not take longer than a minute."
)
def up(  # noqa: PLR0913, PLR0917 - one for each option
    group: str, yes: bool, location: str | None, parameters: Path, first: str, skip: tuple[str, ...], preview: bool,
    client: str | None, remote_build: bool,
) -> None:  # fmt: skip
    """Deploy: resources, code, database, events, smoke. Each step may be repeated; --from goes on where one failed."""
    azure = Azure(_wait, click.echo)
    with _Reported():
        check_parameters(parameters)
        deployer = Deployer(
            azure, Deployment(azure, group, parameters), _get, lambda: datetime.now(UTC), _BUILD,
            location=location, client=client, remote_build=remote_build, renew=first == "events",
        )  # fmt: skip
        deployer.prepare(_confirmer(yes))
        use_operator(azure, parameters)
        chosen = [name for name in list(STEPS)[list(STEPS).index(first) :] if name not in skip]
        if preview or "resources" in chosen:
            deployer.template.preview()
    if preview:
        return
    if "resources" in chosen:
        _confirmer(yes)("Deploy this?")
    for name in chosen:
        click.echo(f"{name} ...")
        with _Reported(name, group):
            STEPS[name](deployer)
    click.echo("done")


@main.command()
@_group
@_yes
def down(group: str, yes: bool) -> None:
    """Delete the resource group with everything in it: tables, history and files, too."""
    azure = Azure(_wait, click.echo)
    with _Reported():
        if not azure.read("group", "exists", "--name", group):
            click.echo(f"there is no resource group {group}")
            return
        for one in azure.read("resource", "list", "--resource-group", group, "--query", "[].[type, name]"):
            click.echo("  " + " ".join(one))
    if not yes and click.prompt("Type the name of the group to delete all of this") != group:
        raise click.ClickException("That is not its name: nothing is deleted.")
    with _Reported():
        take_down(azure, group)
    click.echo("done; its key vault can be restored for 90 days, and is if you deploy again")


@main.command("sign-in")
@_group
def sign_in(group: str) -> None:
    """Make the app registration of the status page, or bring it up to date, and print its client id."""
    azure = Azure(_wait, click.echo)
    with _Reported():
        client = register(azure, Deployment(azure, group, SAMPLE).outputs())
    click.echo(f"Give the parameter statusClientId = {client}, and deploy.")
    click.echo("Assign the roles Reader and Operator to people under its enterprise application.")


@main.command()
@click.option("--python", required=True, help="Version of the app's Python, such as 3.13.")
@click.option("--output", type=click.Path(path_type=Path), default=_BUILD, help="The folder to build in.")
def package(python: str, output: Path) -> None:
    """Build the package of the app, and say how large it is."""
    with _Reported():
        click.echo(str(packages.build(python, output)))


class _Reported:
    """Ends the command with the one line of a failure, and with how to go on."""

    def __init__(self, step: str | None = None, group: str | None = None) -> None:
        self.step, self.group = step, group

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if not isinstance(error, DeployError | AzureError):
            return
        again = f"\nGo on with: python -m infra.deploy up --group {self.group} --from {self.step}" if self.step else ""
        raise click.ClickException(f"{error}{again}") from error


def _confirmer(yes: bool) -> Callable[[str], None]:
    def confirm(question: str) -> None:
        if not yes:
            click.confirm(question, abort=True)

    return confirm


def _get(url: str, headers: Mapping[str, str]) -> requests.Response:
    return requests.get(url, headers=dict(headers), timeout=60, allow_redirects=False)


if __name__ == "__main__":
    main(prog_name="python -m infra.deploy")
