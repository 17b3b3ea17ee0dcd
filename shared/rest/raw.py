"""Answers of an API as they came, kept in a folder: for whoever has to find out what it said."""

from __future__ import annotations

import json
import threading

from collections.abc import Collection
from pathlib import Path

from shared.errors import no_folder
from shared.redaction import redact
from shared.rest.client import Call
from shared.rest.failures import Response
from shared.rest.rows import without


class RawPages:
    """Keeps answers in *folder*: ``00001.json`` and so on, and in ``calls.jsonl`` what each one answers.

    Sign-ins are not kept, nor are fields that the catalog calls secret. What the API says of people is: treat the
    folder as you treat the data.
    """

    def __init__(self, folder: Path, *, secret: Collection[str] = (), setting: str = "--keep-raw") -> None:
        self._folder, self._setting, self._secret = folder, setting, frozenset(secret)
        self._lock, self._number = threading.Lock(), 0

    def __call__(self, call: Call, response: Response) -> None:
        with self._lock:
            try:
                self._keep(call, response)
            except OSError as error:
                raise no_folder("an answer", self._setting, error) from error

    def _keep(self, call: Call, response: Response) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        while True:
            self._number += 1
            path = self._folder / f"{self._number:05}.{'xml' if 'xml' in call.accept else 'json'}"
            if not path.exists():
                break
        path.write_bytes(self._without_secrets(response.body))
        line = {
            "file": path.name, "method": call.method, "path": redact(call.path.partition("?")[0]),
            "parameters": {name: redact(str(value)) for name, value in call.parameters.items()}, "body": call.body,
            "status": response.status, "date": response.headers.get("Date"),
        }  # fmt: skip
        with (self._folder / "calls.jsonl").open("a", encoding="utf-8") as calls:
            calls.write(json.dumps(line, ensure_ascii=False, default=str) + "\n")

    def _without_secrets(self, body: bytes) -> bytes:
        if not self._secret:
            return body
        return json.dumps(without(json.loads(body), self._secret), ensure_ascii=False).encode()
