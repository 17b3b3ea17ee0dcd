"""A stand-in for MarketSharp's OData service: Atom, signed calls, pages that it ends itself or not.

What the real one would refuse is a violation, unless a test expects it. It is written from the protocol, not from our
client: its filters are understood by patterns of their own.
"""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import hashlib
import hmac
import re
import threading

from collections import deque
from collections.abc import Callable, Iterator
from email.utils import format_datetime
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from tests.servers.http import Reply, Request, serving

COMPANY, KEY = "1234", "hush-key"
SECRET = base64.b64encode(b"hush-secret").decode()
ATOM = "http://www.w3.org/2005/Atom"
META = "http://schemas.microsoft.com/ado/2007/08/dataservices/metadata"
DATA = "http://schemas.microsoft.com/ado/2007/08/dataservices"
PARAMETERS = {"$filter", "$orderby", "$top", "$skip", "$select", "$skiptoken", "$inlinecount"}
TYPES = {
    "id": "Guid", "contactId": "Guid", "inquiryId": "Guid", "appointmentId": "Guid", "companyId": "Int32",
    "firstName": "String", "note": "String", "isActive": "Boolean", "price": "Decimal", "createdDate": "DateTime",
    "lastUpdate": "DateTime", "lastUpdateUtc": "DateTime",
}  # fmt: skip
CHANGING = ("id", "companyId", "firstName", "note", "isActive", "price", "createdDate", "lastUpdate")
SETS = {
    "Contacts": CHANGING, "Inquiries": ("contactId", *CHANGING), "Appointments": ("inquiryId", *CHANGING),
    "Jobs": ("contactId", "inquiryId", "appointmentId", *CHANGING), "Activities": ("contactId", *CHANGING),
    "ContactPhones": ("contactId", "note"), "InquiryStatuses": ("id", "note", "lastUpdateUtc"),
    **dict.fromkeys(
        ("ActivityReferences", "ActivityResults", "Addresses", "AppointmentResults", "Companies", "ContactTypes",
         "CustomFields", "Employees", "InquirySourcePrimaries", "InquirySourceSecondaries", "ProductDetails",
         "ProductInterests", "ProductTypes"), ("id", "note"),
    ),
}  # fmt: skip
_CONDITION = re.compile(r"(\w+) (ge|gt|lt|le|eq|ne) (null|datetime'[^']*'|guid'[^']*')$")


class MarketSharp:
    """``entities`` may be changed while it runs. ``page`` is where it ends its pages; None: it does not."""

    def __init__(self) -> None:
        self.sets: dict[str, tuple[str, ...]] = dict(SETS)
        self.types = dict(TYPES)
        self.entities: dict[str, list[dict[str, Any]]] = {name: [] for name in SETS}
        self.page: int | None = None
        self.clock_ahead = 0.0
        """Seconds that its clock is ahead of this machine's."""
        self.faults: deque[Callable[[Request], Reply | None]] = deque()
        self.violations: list[str] = []
        self.calls: list[Request] = []
        self.url = ""
        self._lock = threading.Lock()

    @property
    def now(self) -> dt.datetime:
        return dt.datetime.now(dt.UTC) + dt.timedelta(seconds=self.clock_ahead)

    def put(self, name: str, ident: str, **values: Any) -> None:
        """Create or change an entity, which goes to the end of its set."""
        key = self.sets[name][0] if name == "ContactPhones" else "id"
        before = next((one for one in self.entities[name] if one[key] == ident), {})
        with contextlib.suppress(ValueError):
            self.entities[name].remove(before)
        self.entities[name].append({**before, key: ident, **values})

    # -- answers

    def __call__(self, request: Request) -> Reply:
        with self._lock:
            self.calls.append(request)
            if (refused := self._sign_in(request)) is not None:
                return refused
            fault = self.faults.popleft() if self.faults else None
            broken = fault(request) if fault else None
            return broken if broken is not None else self._answer(request)

    def date(self) -> str:
        return format_datetime(self.now.replace(microsecond=0), usegmt=True)

    def _sign_in(self, request: Request) -> Reply | None:
        parts = request.headers.get("Authorization", "").split(":")
        if len(parts) != 4 or not parts[2].isdigit():
            self.violations.append("no sign-in of four parts")
            return error(401, "Unauthorized")
        company, key, seconds, signature = parts
        message = f"{company}{key}{seconds}".encode()
        expected = base64.b64encode(hmac.new(base64.b64decode(SECRET), message, hashlib.sha256).digest()).decode()
        is_late = abs(self.now.timestamp() - int(seconds)) > 300
        if (company, key) != (COMPANY, KEY) or signature != expected or is_late:
            return error(401, "Unauthorized")
        return None

    def _answer(self, request: Request) -> Reply:
        if request.method != "GET":
            self.violations.append(f"{request.method} of a service that is read only")
            return error(405, "Read only")
        name = request.path.removeprefix("/WcfDataService.svc/")
        if name == "$metadata":
            return Reply(200, self.metadata().encode(), {"Content-Type": "application/xml"})
        if name not in self.sets:
            return error(404, f"Resource not found for the segment '{name}'.")
        return self._list(name, request)

    def _list(self, name: str, request: Request) -> Reply:
        given = dict(request.query)
        if unknown := sorted(set(given) - PARAMETERS):
            self.violations.append(f"unknown parameters {unknown}")
            return error(400, f"The query parameter {unknown[0]} is not supported")
        if "atom" not in request.headers.get("Accept", ""):
            self.violations.append("no Accept of Atom")
        token = given.pop("$skiptoken", None)
        if token is not None and self._known_token(name, given, token) is None:
            return error(400, "no such token")
        if ("$skip" in given or "$top" in given) and "$orderby" not in given:
            self.violations.append("pages without an order")
        found = [one for one in self.entities[name] if self._fits(name, one, given.get("$filter", ""))]
        for clause in reversed([part.split() for part in given.get("$orderby", "").split(",") if part]):
            if clause[0] not in self.sets[name]:
                return error(400, f"No property '{clause[0]}' exists")
            field, is_down = clause[0], clause[1:] == ["desc"]
            found.sort(key=lambda one: (one.get(field) is not None, str(one.get(field))), reverse=is_down)
        found = found[int(given.get("$skip", 0)) :][: int(given.get("$top", len(found)))]
        start = int(token or 0)
        end = len(found) if self.page is None else start + self.page
        columns = given["$select"].split(",") if "$select" in given else self.sets[name]
        following = self._link(name, given, end) if end < len(found) else None
        return self.feed(name, found[start:end], columns, following)

    def _link(self, name: str, given: dict[str, str], end: int) -> str:
        """It has to be followed as it is: the token is good with its other parameters alone."""
        query = "&".join(f"{key}={value.replace(' ', '%20')}" for key, value in given.items())
        return f"{self.url}/{name}?{query}{'&' if query else ''}$skiptoken={end}"

    def _known_token(self, name: str, given: dict[str, str], token: str) -> str | None:
        earlier = [dict(one.query) for one in self.calls[:-1] if one.path.endswith(f"/{name}")]
        if any({k: v for k, v in one.items() if k != "$skiptoken"} == given for one in earlier) and token.isdigit():
            return token
        self.violations.append(f"a link that was not given: {given}")
        return None

    def _fits(self, name: str, entity: dict[str, Any], text: str) -> bool:
        return all(self._holds(name, entity, part) for part in text.split(" and ") if part)

    def _holds(self, name: str, entity: dict[str, Any], part: str) -> bool:
        found = _CONDITION.match(part)
        if found is None or found[1] not in self.sets[name]:
            self.violations.append(f"filter {part}")
            return False
        value, operator, right = entity.get(found[1]), found[2], found[3]
        if right == "null":
            return (value is None) == (operator == "eq")
        if value is None:
            return False
        if not right.startswith("datetime") or self.types[found[1]] != "DateTime":
            self.violations.append(f"filter {part}")
        low, high = dt.datetime.fromisoformat(value), dt.datetime.fromisoformat(right.split("'")[1])
        return {"ge": low >= high, "gt": low > high, "lt": low < high, "le": low <= high, "eq": low == high}[operator]

    # -- documents

    def feed(
        self, name: str, entities: list[dict[str, Any]], columns: Any = None, following: str | None = None
    ) -> Reply:
        entries = "".join(self.entry(name, one, columns or self.sets[name]) for one in entities)
        link = f'<link rel="next" href={quoteattr(following)} />' if following else ""
        text = (
            f'<?xml version="1.0" encoding="utf-8" standalone="yes"?><feed xml:base="{self.url}/" xmlns:d="{DATA}" '
            f'xmlns:m="{META}" xmlns="{ATOM}"><title type="text">{name}</title><id>{self.url}/{name}</id>'
            f'<updated>{self.now:%Y-%m-%dT%H:%M:%SZ}</updated><link rel="self" title="{name}" href="{name}" />'
            f"{entries}{link}</feed>"
        )
        return Reply(200, text.encode(), {"Content-Type": "application/atom+xml;type=feed;charset=utf-8"})

    def entry(self, name: str, entity: dict[str, Any], columns: Any) -> str:
        properties = "".join(self._property(column, entity.get(column)) for column in columns)
        return (
            f'<entry><id>{self.url}/{name}</id><title type="text"></title><author><name /></author>'
            f'<link rel="edit" href="{name}" /><category term="M.{name}" scheme="x" />'
            f'<content type="application/xml"><m:properties>{properties}</m:properties></content></entry>'
        )

    def _property(self, column: str, value: Any) -> str:
        kind = self.types[column]
        given = "" if kind == "String" else f' m:type="Edm.{kind}"'
        if value is None:
            return f'<d:{column}{given} m:null="true" />'
        text = str(value).lower() if isinstance(value, bool) else written(value) if kind == "DateTime" else str(value)
        return f"<d:{column}{given}>{raw(text)}</d:{column}>"

    def metadata(self) -> str:
        kinds = "".join(
            f'<EntityType Name="{name}Type"><Key><PropertyRef Name="{"id" if "id" in columns else columns[0]}" /></Key>'
            + "".join(f'<Property Name="{one}" Type="Edm.{self.types[one]}" />' for one in columns)
            + "</EntityType>"
            for name, columns in self.sets.items()
        )
        sets = "".join(f'<EntitySet Name="{name}" EntityType="M.{name}Type" />' for name in self.sets)
        edm = "http://schemas.microsoft.com/ado/2008/09/edm"
        return (
            '<?xml version="1.0" encoding="utf-8"?><edmx:Edmx Version="1.0" '
            'xmlns:edmx="http://schemas.microsoft.com/ado/2007/06/edmx"><edmx:DataServices '
            f'xmlns:m="{META}" m:DataServiceVersion="2.0"><Schema Namespace="M" xmlns="{edm}">{kinds}</Schema>'
            f'<Schema Namespace="S" xmlns="{edm}"><EntityContainer Name="C" m:IsDefaultEntityContainer="true">{sets}'
            "</EntityContainer></Schema></edmx:DataServices></edmx:Edmx>"
        )


def written(instant: str) -> str:
    """An instant in milliseconds, rounded, though it is stored and compared finer: as SQL Server's are by .NET."""
    moment = dt.datetime.fromisoformat(instant)
    if moment.microsecond % 1000 == 0:
        return instant
    rounded = moment + dt.timedelta(microseconds=500)
    return rounded.replace(microsecond=rounded.microsecond // 1000 * 1000).isoformat(timespec="milliseconds")


def raw(text: str) -> str:
    """As .NET writes texts: control characters are references, though XML does not allow them."""
    return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", lambda found: f"&#x{ord(found[0]):X};", escape(text))


def error(status: int, message: str) -> Reply:
    text = (
        f'<?xml version="1.0"?><error xmlns="{META}"><code></code><message xml:lang="en-US">{message}</message></error>'
    )
    return Reply(status, text.encode(), {"Content-Type": "application/xml"})


def guid(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012x}"


def at(minute: float, *, hour: int = 10) -> str:
    """An instant as the service writes it."""
    moment = dt.datetime(2026, 2, 24, hour) + dt.timedelta(minutes=minute)  # noqa: DTZ001 - it has no zone
    return moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds")


@contextlib.contextmanager
def marketsharp() -> Iterator[MarketSharp]:
    found = MarketSharp()
    with serving(found, found.date) as url:
        found.url = f"{url}/WcfDataService.svc"
        yield found
