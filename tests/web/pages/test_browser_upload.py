"""The upload page in a real Chromium with its script: a dropped file goes straight to storage, block by block."""

from __future__ import annotations

import datetime as dt

import pytest

from azure.storage.blob import BlobServiceClient, CorsRule

from shared.jobs.actions import actions_of
from tests.exports import Clock, open_test_app
from tests.servers.npm import npm_package
from tests.standins.functions_host import functions_host
from tests.web.pages.browsing import principal_header

pytestmark = pytest.mark.slow

HEADERS = ["content-type", "x-ms-client-principal"]
"""The second is what signs the browser in here: it sends it to every host."""
DROP = """([name, content]) => {
  const given = new DataTransfer();
  given.items.add(new File([content], name, { type: "text/csv" }));
  document.getElementById("drop").dispatchEvent(new DragEvent("drop", { dataTransfer: given, bubbles: true }));
}"""


@pytest.fixture
def site(azurite, container, tmp_path, monkeypatch):
    """An app whose documents are blobs, in an account that lets pages write as the template does."""
    with BlobServiceClient.from_connection_string(azurite.connection_string) as service:
        service.set_service_properties(cors=[CorsRule(["*"], ["PUT"], allowed_headers=HEADERS)])
    app = open_test_app(
        tmp_path, Clock(dt.datetime.now(dt.UTC)), STATE_URL=f"{container.url}-state", STATUS_SIGN_IN="entra",
        STORAGE_CONNECTION_STRING=azurite.connection_string,
    )  # fmt: skip
    app.documents.put("status/x", b"x")  # the container is made with the first document
    with functions_host(app, monkeypatch) as host, host.listening() as url:
        yield app, url


def test_dropped_file_goes_straight_to_storage(chromium, site):
    """Larger than a form may be, in blocks; the app sees its name only, and no fault of the policy is reported."""
    app, url = site
    bodies = []
    content = "Zip,City\n" + "".join(f"{number:05},{'x' * 400}\n" for number in range(90_000))
    context = chromium.new_context(extra_http_headers={"X-MS-CLIENT-PRINCIPAL": principal_header(["Operator"])})
    page = context.new_page()
    faults = []
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("request", lambda sent: bodies.append((sent.method, sent.url, len(sent.post_data_buffer or b""))))
    page.goto(f"{url}/status/upload")
    page.get_by_label("Feed").select_option("hubspot.zip_codes")
    page.evaluate(DROP, ["zips.csv", content])

    page.get_by_role("button", name="Show what it would do").click()
    page.wait_for_url("**/status/upload?id=*", timeout=120_000)

    shown = page.locator("main").inner_text()
    to_app = [size for method, sent, size in bodies if method == "POST" and "/status/upload" in sent]
    page.evaluate((npm_package("axe-core") / "axe.min.js").read_text())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    context.close()
    assert "its first" in shown
    assert ([], [], 5) == (faults, found["violations"], sum("comp=block&" in sent for _, sent, _ in bodies))
    assert max(to_app) < 1_000
    assert ["upload"] == [one.action for one in actions_of(app.documents, "hubspot.zip_codes")]
