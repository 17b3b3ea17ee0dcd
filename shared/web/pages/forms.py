"""The fields of a form, and the file in it, within limits."""

from __future__ import annotations

import io

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl

from shared.errors import RequestRefused

MOST_BYTES = 33_000_000
"""Of a form with a file."""
_MOST_BYTES = 65_536
"""Of a form, or of the fields beside a file."""
_MOST_FIELDS = 20


class Form(NamedTuple):
    """What a form was filled in with."""

    fields: Mapping[str, str]
    file: tuple[str, bytes] | None = None
    """Name and content."""


def read_form(body: bytes, content_type: str) -> Form:
    """The form in a request. RequestRefused (413) if it is more than any form of ours has."""
    if content_type.lower().startswith("multipart/form-data"):
        return _with_file(body, content_type)
    if len(body) > _MOST_BYTES:
        raise RequestRefused(413, "the form is too long")
    try:
        fields = parse_qsl(body.decode(errors="replace"), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise RequestRefused(413, "the form has too many fields") from error
    return Form(dict(fields))


def _with_file(body: bytes, content_type: str) -> Form:
    from werkzeug.exceptions import RequestEntityTooLarge
    from werkzeug.formparser import FormDataParser
    from werkzeug.http import parse_options_header

    if len(body) > MOST_BYTES:
        raise RequestRefused(
            413, "the file is too large for a form: load it with `sluice csv`, or in Azure with JavaScript switched on"
        )
    kind, options = parse_options_header(content_type)
    parser = FormDataParser(
        lambda *_given, **_more: io.BytesIO(),
        max_form_memory_size=_MOST_BYTES,
        max_form_parts=_MOST_FIELDS,
        silent=False,
    )
    try:
        _, fields, files = parser.parse(io.BytesIO(body), kind, len(body), options)
    except RequestEntityTooLarge as error:
        raise RequestRefused(413, "the form has too many fields, or too long ones") from error
    except ValueError as error:
        raise RequestRefused(400, "the form cannot be read") from error
    sent = files.get("file")
    return Form(fields.to_dict(), None if sent is None else (sent.filename or "", sent.read()))
