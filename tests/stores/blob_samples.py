"""What signs in to a container, and where tests put their files."""

from __future__ import annotations

import base64
import datetime as dt
import json

from urllib.parse import quote

from azure.core.credentials import AccessToken

REAL_NOW = dt.datetime.now(dt.UTC)
LATER = REAL_NOW + dt.timedelta(days=1)
EARLIER = REAL_NOW - dt.timedelta(days=1)
ROOT = "root #1"


def _url(container, path=ROOT):
    return f"{container.url}/{quote(path)}"


class Token:
    """A credential whose token Azurite takes for one of Microsoft's: it looks at everything but the signature."""

    def get_token(self, *_scopes, **_options):
        now = int(dt.datetime.now(dt.UTC).timestamp())
        claims = {
            "iss": "https://sts.windows.net/00000000-0000-0000-0000-000000000000/", "aud": "https://storage.azure.com",
            "iat": now - 60, "nbf": now - 60, "exp": now + 3600, "ver": "1.0", "appid": "an-app", "oid": "a-principal",
        }  # fmt: skip
        parts = ({"alg": "RS256", "typ": "JWT"}, claims, "signature")
        packed = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
        return AccessToken(".".join(packed), now + 3600)
