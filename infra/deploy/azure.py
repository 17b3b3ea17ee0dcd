"""The Azure CLI: calls it, reads its JSON, repeats what may pass, and says in one line what went wrong."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from shared.redaction import redact

PASSES = re.compile(
    r"DeploymentActive|AnotherOperationInProgress|TooManyRequests|RetryableError|InternalServerError|ServiceUnavailable"
    r"|GatewayTimeout|PrincipalNotFound|does not exist in the directory|Connection aborted|Bad Gateway|timed out",
)
"""What Azure says of a call that may work later; new identities and roles take minutes to be known everywhere."""


class DeployError(Exception):
    """A step failed: *problem*, and what to do about it."""

    def __init__(self, problem: str, *, fix: str) -> None:
        super().__init__(f"{problem.rstrip('. ')}. {fix}.")
        self.problem = problem


class AzureError(Exception):
    """What ``az`` said, in one line."""


def run(words: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
    """Every command that is run here is run by this: its output and its errors as text."""
    return subprocess.run(words, capture_output=True, text=True, check=False, **options)


class Azure:
    """Calls ``az``. *wait* gets seconds to wait for, *say* gets a line for the operator."""

    def __init__(self, wait: Callable[[float], None], say: Callable[[str], None]) -> None:
        self.wait, self.say = wait, say

    def read(self, *words: str) -> Any:
        """The output of ``az``, from JSON where it is that; None for nothing. AzureError if it fails."""
        done = run([_az(), *words, "--output", "json"])
        if done.returncode:
            raise AzureError(reason(done.stderr))
        try:
            return json.loads(done.stdout) if done.stdout.strip() else None
        except ValueError:  # a few commands print sentences
            return done.stdout.strip()

    def show(self, *words: str) -> None:
        """Let the operator see what ``az`` writes."""
        done = run([_az(), *words])
        if done.returncode:
            raise AzureError(reason(done.stderr))
        self.say(done.stdout.rstrip())

    def found(self, *words: str) -> Any:
        """As :meth:`read`; None for what is not there."""
        try:
            return self.read(*words)
        except AzureError as error:
            if re.search(r"NotFound|not found|could not be found", str(error)):
                return None
            raise

    def again(
        self, call: Callable[[], Any], *, passes: re.Pattern[str] = PASSES, tries: int = 5, pause: float = 30
    ) -> Any:
        """*call*, repeated while it fails with what may pass."""
        for attempt in range(1, tries):
            try:
                return call()
            except AzureError as error:
                if not passes.search(str(error)):
                    raise
                self.say(f"  not yet ({attempt} of {tries}): {error}")
                self.wait(pause)
        return call()

    def until(self, call: Callable[[], Any], *, tries: int, pause: float) -> Any:
        """What *call* returns once it returns something; None if it never does."""
        for attempt in range(tries):
            if result := call():
                return result
            if attempt + 1 < tries:
                self.wait(pause)
        return None


def _az() -> str:
    """The path of the command: on Windows it is a script."""
    path = shutil.which("az")
    if path is None:
        raise DeployError("there is no Azure CLI here", fix="Install it: https://aka.ms/installazurecli")
    return path


def reason(text: str) -> str:
    """The innermost reason in what ``az`` writes on failure, in one line and without what signs in."""
    start = text.find("{")
    if start >= 0:
        try:
            said, _ = json.JSONDecoder().raw_decode(text[start:])
        except ValueError:
            pass
        else:
            return redact(" ".join(innermost(said).split()))
    wrong = [line.partition("ERROR:")[2].strip() for line in text.splitlines() if "ERROR:" in line]
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("WARNING")]
    return redact(" ".join((wrong or lines or ["it said nothing"])[0].split()))


def innermost(said: Any) -> str:
    """The innermost code and message of an error of Azure, which wraps one into the other, also as text."""
    found = list(_errors(said))
    code, message = found[-1] if found else ("", str(said))
    return f"{code}: {message}" if code else message


def _errors(said: Any) -> Iterator[tuple[str, str]]:
    if isinstance(said, str):
        try:
            said = json.loads(said)
        except ValueError:
            return
    if isinstance(said, Sequence) and not isinstance(said, str):
        for one in said[:1]:
            yield from _errors(one)
    if isinstance(said, dict):
        if said.get("message") and not _is_json(said["message"]):
            yield said.get("code", ""), str(said["message"])
        for inner in ("error", "message", "details", "innererror"):
            yield from _errors(said.get(inner))


def _is_json(text: Any) -> bool:
    return isinstance(text, str) and text.lstrip().startswith("{")
