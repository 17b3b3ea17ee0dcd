"""What Azure calls, translated into calls of shared and back into answers. Translation only.

Nothing of shared is imported before a function runs: the host indexes this module at every cold start.
"""

from __future__ import annotations

import json

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)


@app.route(route="health", methods=["GET"])
def health(req: func.HttpRequest) -> func.HttpResponse:
    """Answer with what the app knows about its own state, as JSON."""
    from shared.app import current

    return func.HttpResponse(json.dumps(current().health()), mimetype="application/json")
