"""The image and the manifests for Kubernetes, and the exchange of a service account's token for one of Azure."""

from __future__ import annotations

import json
import re
import ssl
import threading

from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import click
import pytest
import yaml

from shared.azure.identity import credential
from shared.cli.main import main
from shared.settings import Settings
from tests.servers.certificate import self_signed

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "integrations" / "kubernetes"
DOCKERFILE = (FOLDER / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def manifests():
    found = list(yaml.safe_load_all((FOLDER / "sluice.yaml").read_text()))
    return {one["kind"]: one for one in found}


@pytest.fixture(scope="module")
def pod(manifests):
    return manifests["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]


@pytest.fixture(scope="module")
def container(pod):
    (container,) = pod["spec"]["containers"]
    return container


# -- the image


def test_image_starts_from_one_version():
    """The same for building and running, exact to the patch."""
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)

    assert 2 == len(bases)
    assert 1 == len({*bases})
    assert re.fullmatch(r"python:3\.1[1-3]\.\d+-slim-\w+", bases[0])


def test_image_is_not_run_by_root():
    """As the same number as the pod: Kubernetes cannot know who a name is."""
    (user,) = re.findall(r"^USER (.+)$", DOCKERFILE, re.MULTILINE)

    assert DOCKERFILE.index("USER") < DOCKERFILE.index("ENTRYPOINT")
    assert f"--uid {user}" in DOCKERFILE


def test_image_takes_what_is_copied():
    """What .dockerignore lets through is what the Dockerfile copies, and exists."""
    ignored = (FOLDER / "Dockerfile.dockerignore").read_text().splitlines()
    copied = {name for names in re.findall(r"^COPY (?!--)(.+) \S+$", DOCKERFILE, re.M) for name in names.split()}

    assert "*" == ignored[0]
    assert copied == {line[1:] for line in ignored if line.startswith("!")}
    assert [] == [name for name in copied if not (ROOT / name).exists()]


def test_command_of_the_image_exists():
    """As the project declares it."""
    (command,) = re.findall(r"^ENTRYPOINT (.+)$", DOCKERFILE, re.MULTILINE)

    assert ["sluice"] == json.loads(command)
    assert re.search(r"^sluice = ", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)


# -- the manifests


def test_job_runs_a_command_that_exists(container):
    """With options that it has."""
    command, *words = container["args"]
    found = main.get_command(click.Context(main), command)

    assert found.make_context(command, [*words])
    assert "command" not in container  # the entry point of the image is run


def test_pod_runs_without_root_and_without_rights(pod, container):
    """As the policy "restricted" of its namespace wants it."""
    assert pod["spec"]["securityContext"]["runAsNonRoot"]
    assert f"USER {pod['spec']['securityContext']['runAsUser']}\n" in DOCKERFILE
    assert {"type": "RuntimeDefault"} == pod["spec"]["securityContext"]["seccompProfile"]
    assert {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}
    } == container["securityContext"]  # fmt: skip
    assert pod["spec"]["automountServiceAccountToken"] is False


def test_image_is_named_by_its_digest(container):
    """A tag may be another image tomorrow."""
    assert re.search(r"@sha256:", container["image"])


def test_folder_that_can_be_written_is_where_the_command_runs(container):
    """Everything else is read-only."""
    assert [{"name": "tmp", "mountPath": "/tmp"}] == container["volumeMounts"]  # noqa: S108 - in the container
    assert "\nWORKDIR /tmp\n" in DOCKERFILE


def test_pod_signs_in_as_its_service_account(manifests, pod):
    """The webhook of workload identity looks for the label and the annotation; all are in one namespace."""
    account = manifests["ServiceAccount"]["metadata"]

    assert "true" == pod["metadata"]["labels"]["azure.workload.identity/use"]
    assert "azure.workload.identity/client-id" in account["annotations"]
    assert account["name"] == pod["spec"]["serviceAccountName"]
    spaces = {one["metadata"].get("namespace", one["metadata"]["name"]) for one in manifests.values()}
    assert {"sluice"} == spaces
    subject = f"system:serviceaccount:{account['namespace']}:{account['name']}"
    assert subject in (FOLDER / "README.md").read_text()


def test_settings_are_ones_of_sluice_without_a_secret(manifests, container):
    """They are read as they stand, with names put in."""
    data = {name: re.sub("<[^>]+>", "name", value) for name, value in manifests["ConfigMap"]["data"].items()}

    settings = Settings.from_env(data)

    assert data["WAREHOUSE_URL"] == settings.warehouse_url
    assert [{"configMapRef": {"name": manifests["ConfigMap"]["metadata"]["name"]}}] == container["envFrom"]
    assert {*data} <= {*json.loads((ROOT / "local.settings.sample.json").read_text())["Values"]}


def test_two_loads_do_not_run_at_once(manifests):
    """And one that hangs is ended before the next but one."""
    spec = manifests["CronJob"]["spec"]

    assert "Forbid" == spec["concurrencyPolicy"]
    assert spec["jobTemplate"]["spec"]["activeDeadlineSeconds"] < 6 * 3600


# -- the exchange of tokens


def test_token_of_the_service_account_is_exchanged(tmp_path, monkeypatch):
    """The app signs in with nothing but the file that the cluster writes, at a stand-in for Entra."""
    projected = tmp_path / "token"
    with issuer(tmp_path, monkeypatch) as (url, seen):
        for name, value in {
            "AZURE_AUTHORITY_HOST": url, "AZURE_TENANT_ID": "tenant", "AZURE_CLIENT_ID": "client",
            "AZURE_FEDERATED_TOKEN_FILE": str(projected),
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        projected.write_text("first")
        credential.cache_clear()
        try:
            given = credential().get_token("https://storage.azure.com/.default").token
        finally:
            credential.cache_clear()

    ((path, form),) = seen
    assert "from Entra" == given
    assert "/tenant/oauth2/v2.0/token" == path
    assert {
        "grant_type": "client_credentials",
        "client_id": "client",
        "scope": "https://storage.azure.com/.default",
        "client_assertion": "first",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    }.items() <= form.items()


@contextmanager
def issuer(folder, monkeypatch):
    """A server that stands for Entra: its https URL, and the requests for tokens."""
    certificate, key = self_signed(folder)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            seen.append((self.path, {name: values[0] for name, values in parse_qs(body).items()}))
            answer = json.dumps({"token_type": "Bearer", "expires_in": 3600, "access_token": "from Entra"}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
