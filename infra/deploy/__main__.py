"""The command: ``up`` deploys, ``down`` deletes everything, ``package`` only builds, ``sign-in`` registers the page."""

from __future__ import annotations

import re
import shlex
import time

from collections.abc import Callable, Mapping, Sequence
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
    """Put Sluice into a resource group of Azure, or remove it. Sign in first: az login."""


@main.command()
@_group
@_yes
@click.option("--location", envvar="AZURE_LOCATION", help="The region, if the group has to be created.")
@click.option("--parameters", type=click.Path(path_type=Path), default=SAMPLE, help="A .bicepparam or .json file.")
@click.option(
    "--from", "first", type=click.Choice(list(STEPS)), default=next(iter(STEPS)), help="Begin with this step."
)
@click.option("--skip", type=click.Choice(list(STEPS)), multiple=True, help="Leave this step out.")
@click.option("--preview", is_flag=True, help="Only show what the template would change.")
@click.option("--client", help="The client in the path of the test file, if COOLR_CLIENT is not set.")
@click.option(
    "--remote-build", is_flag=True, help="Let Azure install the libraries: it must not take longer than a minute."
)
def up(  # noqa: PLR0913, PLR0917 - one for each option
    group: str, yes: bool, location: str | None, parameters: Path, first: str, skip: tuple[str, ...], preview: bool,
    client: str | None, remote_build: bool,
) -> None:  # fmt: skip
    """Deploy: resources, code, database, events, smoke. Each step may be repeated; --from continues with one."""
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
    again = ["--group", group, *(["--parameters", str(parameters)] if parameters != SAMPLE else [])]
    again += [word for one in skip for word in ("--skip", one)] + (["--client", client] if client else [])
    again += ["--remote-build"] if remote_build else []
    for name in chosen:
        click.echo(f"{name} ...")
        with _Reported(name, again):
            STEPS[name](deployer)
    click.echo("done")


@main.command()
@_group
@_yes
def down(group: str, yes: bool) -> None:
    """Delete the resource group with everything in it, including tables, history and files."""
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
    click.echo("done; its key vault can be restored for 90 days, and a new deployment restores it")


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
    """Ends the command with one line about a failure, and with the command to continue with."""

    def __init__(self, step: str | None = None, options: Sequence[str] = ()) -> None:
        """*options* are those of the command, without which it would go on with another template."""
        self.step, self.options = step, options

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if not isinstance(error, DeployError | AzureError):
            return
        again = ""
        if self.step:
            earlier = re.search(r"--from (\w+)", str(error))  # what is wrong may be of a step before
            words = shlex.join([*self.options, "--from", earlier[1] if earlier else self.step])
            again = f'\nGo on with: make deploy ARGS="{words}"'
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
