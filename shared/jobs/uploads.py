"""Files that people upload to load them, kept among the app's documents as ``uploads/<id>/...``.

The path of a file says what it is, as it does below ``csv/`` in the exports container, so that the job of a file that
arrived loads it: ``uploads/<id>/csv/<system>/<table>/<full or delta>/<time of the upload>/<name>``.
"""

from __future__ import annotations

import json
import re
import secrets

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from shared.azure import urls
from shared.azure.links import write_link
from shared.documents import Documents, to_json
from shared.errors import ConfigError, RequestRefused
from shared.jobs.request import Start
from shared.jobs.triggers import uploaded_job
from shared.model import FeedName, from_json, to_text
from shared.pipeline.csv import text_layout
from shared.pipeline.trial import Trial, try_file
from shared.sources.csv.files import ENDINGS, is_text
from shared.stores import open_store
from shared.text import one_line

if TYPE_CHECKING:
    from shared.app import App
    from shared.settings import Settings

UPLOADS = "uploads/"
MOST_BYTES = 32_000_000
"""Of a file that comes in a request, which is in memory as a whole."""
LINK_MINUTES = 30
_LONGEST = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file that somebody uploads."""

    id: str
    feed: str
    name: str
    """As the machine it is from has it, in one line."""
    by: str
    at: str
    """Text of records."""
    full: bool = False
    """Whether it has all rows of its table."""
    job: str | None = None
    """The job that loads it, once one has been started."""

    @property
    def document(self) -> str:
        """Its content."""
        feed, stamp = FeedName.parse(self.feed), re.sub(r"\D", "", self.at[:19])
        kind = "full" if self.full else "delta"
        return f"{UPLOADS}{self.id}/csv/{feed.system}/{feed.table}/{kind}/{stamp}/{plain_file_name(self.name)}"


class UploadLink(NamedTuple):
    """Where a file can be written without passing through the app."""

    url: str
    """It signs in: for this file alone, to write only."""
    minutes: int = LINK_MINUTES


def plain_file_name(name: str) -> str:
    """The name of a file as a path can have it, with its ending.

    >>> plain_file_name("../Müller & Söhne.CSV"), plain_file_name("....csv.gz")
    ('M_ller_S_hne.CSV', 'file.csv.gz')
    """
    last = name.replace("\\", "/").rpartition("/")[2]
    ending = next((one for one in sorted(ENDINGS, key=len, reverse=True) if last.lower().endswith(one)), "")
    stem = re.sub(r"[^A-Za-z0-9-]+", "_", last[: len(last) - len(ending)]).strip("_-")[:60]
    return f"{stem or 'file'}{last[len(last) - len(ending) :]}"


def new_upload(app: App, feed: str, name: str, *, full: bool, by: str) -> Upload:
    """Keep that somebody uploads a file. RequestRefused for a feed that has no layout, or no file that one can read."""
    try:
        text_layout(app.systems, FeedName.parse(feed))
    except (ConfigError, ValueError) as error:
        raise RequestRefused(404, "there is no such feed, or it is not loaded from files") from error
    shown = one_line(name.replace("\\", "/").rpartition("/")[2])[:_LONGEST]
    if not is_text(plain_file_name(name)):
        raise RequestRefused(400, f"a file is one of {', '.join(ENDINGS)}, by its name")
    upload = Upload(
        id=secrets.token_hex(16), feed=feed, name=shown, by=one_line(by)[:_LONGEST], at=to_text(app.now()), full=full
    )  # fmt: skip
    _keep(app.documents, upload)
    return upload


def upload_of(documents: Documents, id: str) -> Upload:
    """An upload that is kept. RequestRefused (404) if there is none."""
    known = re.fullmatch(r"[0-9a-f]{32}", id)
    content = documents.get(f"{UPLOADS}{id}/about") if known else None
    if content is None:
        raise RequestRefused(404, "there is no such upload, or it is no longer kept")
    return from_json(Upload, json.loads(content))


def write_content(app: App, upload: Upload, content: bytes) -> None:
    """Keep the content of a file that came in a request. RequestRefused if it is empty or too large."""
    if not content:
        raise RequestRefused(400, "the file is empty")
    if len(content) > MOST_BYTES:
        raise too_large(upload.feed)
    app.documents.put(upload.document, content)


def too_large(feed: str) -> RequestRefused:
    """The refusal of a file that is too large for a request."""
    system, table = FeedName.parse(feed)
    return RequestRefused(
        413, f"the file is larger than {MOST_BYTES // 1_000_000} MB: load it with `sluice csv {system} {table} FILE`, "
        "or in Azure with JavaScript switched on, which writes it to storage directly",
    )  # fmt: skip


def link_of(app: App, upload: Upload) -> UploadLink | None:
    """Where to write the content of an upload directly; None if the app's documents are not in a container, or nobody
    can sign for it."""
    place = _place(app.settings, upload)
    url = None if place is None else write_link(place, app.settings, app.now(), minutes=LINK_MINUTES)
    return UploadLink(url) if url else None


def try_upload(app: App, upload: Upload) -> Trial:
    """What loading the file would do. It is kept, so that looking at it again reads nothing else."""
    feed = FeedName.parse(upload.feed)
    trial = try_file(app.runner, app.settings, feed, location_of(app.settings, upload), full=upload.full)
    app.documents.put(f"{UPLOADS}{upload.id}/trial", to_json(asdict(trial)))
    return trial


def trial_of(documents: Documents, upload: Upload) -> Trial | None:
    """What a trial said, if there was one."""
    content = documents.get(f"{UPLOADS}{upload.id}/trial")
    return None if content is None else from_json(Trial, json.loads(content))


def load_upload(app: App, upload: Upload) -> Start:
    """The job that loads the file. It is kept with the upload."""
    location = location_of(app.settings, upload)
    try:
        (file,) = open_store(location, app.settings).list()
    except ConfigError as error:
        raise RequestRefused(409, "the file has not arrived yet") from error
    start = uploaded_job(location, file.version, upload.feed)
    _keep(app.documents, replace(upload, job=start.job))
    return start


def location_of(settings: Settings, upload: Upload) -> str:
    """Where the content of an upload is, as stores open it."""
    place = _place(settings, upload)
    if place is not None:
        return place.link
    state = settings.state_url
    folder = Path(unquote(urlsplit(state).path) if state.startswith("file://") else state).expanduser().absolute()
    return f"file://{quote(str(folder / upload.document))}"


def _place(settings: Settings, upload: Upload) -> urls.StorageUrl | None:
    if "://" not in settings.state_url or settings.state_url.startswith("file://"):
        return None
    place = urls.parse_url(settings.state_url)
    return place._replace(path=f"{place.path.rstrip('/')}/{upload.document}".lstrip("/"), sas=None)


def _keep(documents: Documents, upload: Upload) -> None:
    documents.put(f"{UPLOADS}{upload.id}/about", to_json(asdict(upload)))
