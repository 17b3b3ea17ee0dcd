"""The command that shows how the feeds stand, in the terminal or the browser."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from shared.cli import options, output

if TYPE_CHECKING:
    from shared.pipeline.status import FeedStatus


@click.command()
@click.option("--system", default="", metavar="S", help="Only feeds of this system.")
@click.option(
    "--state", default="", type=click.Choice(["", "failed", "late", "never", "ok"]), metavar="STATE",
    help="Only feeds that are failed, late, never (without a run) or ok.",
)  # fmt: skip
@click.option("--text", default="", metavar="T", help="Only feeds with this in their name or error.")
@click.option("--serve", is_flag=True, help="Show the status page in a browser of this machine, until Ctrl+C.")
@click.option("--port", default=0, type=click.IntRange(0, 65_535), help="Port of --serve; any free one by default.")
@options.as_json
def status(system: str, state: str, text: str, serve: bool, port: int, as_json: bool) -> None:
    """Show the feeds: how fresh each is, and how its last run ended.

    What needs somebody comes first. --serve shows more: the runs of each feed, their slices and rejects.
    """
    from shared.app import current
    from shared.pipeline.feeds import declared
    from shared.pipeline.status import Filter, overview
    from shared.web.pages.local import run_log

    app = current()
    if serve:
        _serve(app, port)
        return
    chosen = Filter(system=system, state=state, text=text)
    found = overview(declared(app.systems), run_log(app), app.now(), chosen)
    if as_json:
        output.print_json(asdict(one) for one in found.feeds)
        return
    output.print_table((_row(one) for one in found.feeds), empty="No feed matches. See `sluice feeds`")


def _row(feed: FeedStatus) -> dict[str, Any]:
    last = feed.runs.last
    ended = {"last_run": last.finished[:19], "rows": last.read, "error": last.error} if last else {}
    return {"feed": feed.name, "state": feed.state, "last_data": feed.freshness, **ended}


def _serve(app: Any, port: int) -> None:
    from shared.web.pages.local import LocalServer

    with LocalServer(app, port) as server:
        click.echo(f"Open this link, which works once:\n{server.link}\nCtrl+C ends it.")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo("")
