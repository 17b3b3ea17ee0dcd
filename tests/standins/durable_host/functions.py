"""The app's functions, called as the worker calls them: JSON text in, JSON text out, through the SDK's converters."""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
import warnings

from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import azure.functions as func

from azure.durable_functions.models.utils import http_utils
from azure.functions import meta

from tests.standins.durable_host.wire import STATE_MARK

Fake: TypeAlias = Callable[[Any], Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an activity ended: with the JSON text of its result, or with the text of its failure."""

    result: str | None = None
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What an orchestrator says: its state, or what it died of before it could say anything."""

    state: dict[str, Any] | None = None
    failure: str | None = None


class Functions:
    """Orchestrators and activities of an app by name, in any case as the host takes them."""

    def __init__(
        self, app: Any, overrides: Mapping[str, Fake] | None = None, client_binding: Callable[[], str] = lambda: ""
    ) -> None:  # fmt: skip
        self.calls: list[tuple[str, Any]] = []
        """Every execution of an activity, with its decoded input, in the order of their beginnings."""
        self._registry = func.get_binding_registry()
        self._client_binding = client_binding
        self._orchestrators: dict[str, Callable[..., Any]] = {}
        self._activities: dict[str, Fake] = {}
        for function in _functions(app):
            self._take(function)
        self._activities |= {name.lower(): fake for name, fake in (overrides or {}).items()}

    def check_orchestrator(self, name: str) -> None:
        """LookupError if the app has no such orchestrator."""
        if name.lower() not in self._orchestrators:
            raise LookupError(
                f"The function '{name}' doesn't exist, is disabled, or is not an orchestrator function."
                f" The following are the known orchestrator functions: {sorted(self._orchestrators)}."
            )

    def check_activity(self, name: str) -> None:
        """LookupError if the app has no such activity."""
        if name.lower() not in self._activities:
            raise LookupError(
                f"The function '{name}' doesn't exist, is disabled, or is not an activity function."
                f" The following are the known activity functions: {sorted(self._activities)}."
            )

    def orchestrate(self, name: str, context: str) -> Answer:
        """One episode of the orchestrator, over the history that is in the JSON text *context*."""
        _quieten()
        converter = self._registry.get("orchestrationTrigger")
        argument = converter.decode(meta.Datum(context, "string"), trigger_metadata={})
        try:
            said = self._orchestrators[name.lower()](argument)
        except Exception as error:  # noqa: BLE001 - whatever it is, the worker reports it to the host
            text, mark, state = str(error).partition(STATE_MARK)
            return Answer(state=json.loads(state)) if mark else Answer(failure=f"{type(error).__name__}: {text}")
        return Answer(state=json.loads(converter.encode(said, expected_type=None).value))

    def execute(self, name: str, text: str) -> Outcome:
        """The activity, over the JSON text of its input; what it raises is its failure, but for a BaseException."""
        _quieten()
        converter = self._registry.get("activityTrigger")
        try:
            value = converter.decode(meta.Datum(text, "string"), trigger_metadata={})
            self.calls.append((name, value))
            result = self._activities[name.lower()](value)
            if inspect.isawaitable(result):
                result = _complete(result)
            encoded = converter.encode(result, expected_type=None).value
        except Exception as error:  # noqa: BLE001 - whatever it is, the worker reports it to the host
            return Outcome(failure=f"Activity function '{name}' failed:  {type(error).__name__}: {error}")
        return Outcome(result=None if encoded == "null" else encoded)

    def _take(self, function: Any) -> None:
        trigger = function.get_trigger()
        call = function.get_user_function()
        if trigger.type == "orchestrationTrigger":
            self._orchestrators[(trigger.orchestration or function.get_function_name()).lower()] = call
        elif trigger.type == "activityTrigger":
            name = (trigger.activity or function.get_function_name()).lower()
            clients = [binding.name for binding in function.get_bindings() if binding.type == "durableClient"]
            if clients:  # to start jobs that are nobody's children
                self._activities[name] = lambda value: call_async(
                    call(**{trigger.name: value}, **{client: self._client_binding() for client in clients})
                )
            else:
                self._activities[name] = lambda value: call(**{trigger.name: value})


def call_async(work: Coroutine[Any, Any, T]) -> T:
    """Run *work* in an event loop of its own, and end the HTTP session that the SDK's client binds to that loop."""

    async def whole() -> T:
        _quieten()
        with warnings.catch_warnings():
            # An option that the SDK gives to aiohttp is out of date on newer Pythons.
            warnings.simplefilter("ignore", DeprecationWarning)
            # Made before several requests at once can wait for the SDK's lock, which would bind that to this loop too.
            await http_utils._get_session()
        try:
            return await work
        finally:
            await http_utils._close_session()

    with _ONE_SESSION:
        return asyncio.run(whole())


_ONE_SESSION = threading.Lock()
"""The SDK keeps one HTTP session in a process: an activity and a request must not close it under each other."""


def _quieten() -> None:
    """Let the SDK say what it warns of in every app: a filter is added each time, since pytest drops it between tests.

    Of events that nobody waits for yet and of second results, both wanted here; and, once in a process, of payloads
    that are decoded without a type.
    """
    warnings.filterwarnings("ignore", message="Potential duplicate Task completion", category=UserWarning)
    warnings.filterwarnings("ignore", message=r"azure\.functions df_", category=DeprecationWarning)


def _functions(app: Any) -> Iterable[Any]:
    if not hasattr(app, "get_functions"):
        return app  # type: ignore[no-any-return]  # the list that it has to be
    # get_functions() works once for an app: a second time it takes every function for a namesake of itself.
    return [builder.build(app.auth_level) for builder in app._function_builders]


def _complete(result: Any) -> Any:
    """What *result* ends in, also if the caller sits in an event loop already."""

    async def whole() -> Any:
        return await result

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(whole())
    ended: list[Any] = []
    failed: list[BaseException] = []

    def elsewhere() -> None:
        try:
            ended.append(asyncio.run(whole()))
        except BaseException as error:  # noqa: BLE001 - raised again below, in the thread that asked
            failed.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return ended[0]
