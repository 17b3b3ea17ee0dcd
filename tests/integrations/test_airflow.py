"""What Airflow runs: without Airflow against a stand-in of the app's API, then in a real Airflow."""

from __future__ import annotations

import doctest
import json
import os
import subprocess
import sys

from pathlib import Path

import pytest

from tests.exports import export_path, write_parquet
from tests.servers.http import Reply, as_json, serving

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "integrations" / "airflow"
AIRFLOW = ROOT / ".venv-airflow" / "bin" / "airflow"
sys.path.append(str(FOLDER))

from sluice_airflow import exports  # noqa: E402 - found by the line above
from sluice_airflow.client import SluiceClient  # noqa: E402
from sluice_airflow.command import Command  # noqa: E402
from sluice_airflow.connection import client_of  # noqa: E402
from sluice_airflow.errors import SluiceError  # noqa: E402
from sluice_airflow.exports import newest_export  # noqa: E402

SUMMARY = {"inserted": 3}


class App:
    """The API of Sluice with jobs in given states, one for each time that the job is looked at; the last one stays."""

    def __init__(self):
        self.jobs = {}
        self.starts = {}
        self.seen = []
        self.busy = []

    def has(self, id, *states, retryable=False, reason=None, units=(), found=None):
        self.jobs[id] = [
            {
                "job": id, "state": state, "retryable": retryable, "reason": reason, "units": list(units),
                "summary": SUMMARY if state in ("done", "partly", "failed") else None,
                "progress": {"jobs": found} if found else None,
            }
            for state in states
        ]  # fmt: skip

    def answer(self, request):
        self.seen.append((request.method, request.path, dict(request.query), request.json, dict(request.headers)))
        if self.busy:
            return self.busy.pop(0)
        if request.headers.get("x-functions-key") != "the-key":
            return Reply(401)
        path = request.path.removeprefix("/api/").replace("%3A", ":")
        if request.method == "POST" and path in self.starts:
            return as_json({"jobs": [{"job": id, "url": "x"} for id in self.starts[path]]}, 202)
        states = self.jobs.get(path.removeprefix("jobs/"))
        if request.method == "POST" or states is None:
            return as_json({"error": "there is no such job"}, 404)
        return as_json(states.pop(0) if len(states) > 1 else states[0])


@pytest.fixture
def app():
    app = App()
    with serving(app.answer) as app.url:
        yield app


@pytest.fixture
def client(app):
    return SluiceClient(f"{app.url}/api", "the-key", pause=0)


# -- over the API


def test_feed_is_run_with_what_it_is_given(app, client):
    """The ids of its jobs come back."""
    app.starts["feeds/coolr.location/run"] = ["search:1", "export:2"]

    assert ["search:1", "export:2"] == client.run_feed("coolr.location", {"max_delete_share": 1})
    assert ("POST", "/api/feeds/coolr.location/run", {"max_delete_share": 1}) == tuple(
        app.seen[0][n] for n in (0, 1, 3)
    )


def test_feeds_of_a_system_are_named(app, client):
    """Without names all of them are meant."""
    app.starts["systems/genius/run"] = ["sync:genius"]

    client.run_system("genius", ["lead", "user"])
    client.run_system("genius")

    assert [{"feeds": "lead,user"}, {}] == [query for _, _, query, *_ in app.seen]


def test_job_is_waited_for_until_it_ends(app, client):
    """Then its summary is there."""
    app.has("sync:genius", "pending", "running", "done")

    looks = [client.progress(["sync:genius"]) for _ in range(3)]

    assert [("sync:genius",), ("sync:genius",), ()] == [look.running for look in looks]
    assert ((SUMMARY,), None) == (looks[-1].summaries, looks[-1].error)


def test_jobs_that_a_search_found_are_waited_for(app, client):
    """The search itself ends early, and loads nothing."""
    app.has("search:1", "completed", found=["blob:a", "blob:b"])
    app.has("blob:a", "done")
    app.has("blob:b", "running", "failed", units=[{"status": "failed", "feed": "coolr.asset", "error": "no key"}])

    assert ("blob:b",) == client.progress(["search:1"]).running
    assert "job blob:b is failed: coolr.asset: no key" == str(client.progress(["search:1"]).error)


@pytest.mark.parametrize(
    ("state", "reason", "units", "said"),
    [
        ("partly", None, [{"status": "done"}, {"status": "failed", "feed": "a.b", "error": "no key"}], "a.b: no key"),
        ("failed", None, [{"status": "failed", "feed": None, "place": "x.csv", "error": "cut off"}], "x.csv: cut off"),
        ("terminated", "no progress; replaced by sync:genius~2", [], "no progress; replaced by sync:genius~2"),
        ("canceled", None, [], "no error was recorded"),
    ],
)  # fmt: skip
def test_reason_of_a_failed_job_is_given(app, client, state, reason, units, said):
    """As the app records it: of each unit, or of the job."""
    app.has("sync:genius", state, reason=reason, units=units)

    assert f"job sync:genius is {state}: {said}" == str(client.progress(["sync:genius"]).error)


@pytest.mark.parametrize("retryable", [True, False])
def test_app_says_whether_a_failure_may_pass(app, client, retryable):
    """What would fail again is not worth a retry; one such job is enough."""
    app.has("sync:a", "failed", retryable=retryable)
    app.has("sync:b", "failed", retryable=True)

    assert retryable is client.progress(["sync:a", "sync:b"]).error.retryable


def test_busy_app_is_requested_again(app, client):
    """Starting a job twice is safe, so that a start is repeated, too."""
    app.starts["systems/genius/run"] = ["sync:genius"]
    app.busy = [Reply(503), as_json({"error": "too many"}, 429)]

    assert ["sync:genius"] == client.run_system("genius")


def test_app_that_stays_busy_is_a_failure_that_may_pass(app, client):
    """Airflow's own retries come later."""
    app.busy = [as_json({"error": "the ledger does not answer"}, 503) for _ in range(6)]

    with pytest.raises(SluiceError, match="the app answers 503: the ledger does not answer") as caught:
        client.run_system("genius")

    assert caught.value.retryable


def test_feed_that_does_not_exist_is_named_and_not_retried(client):
    """With the reason that the app gives."""
    with pytest.raises(SluiceError, match="the app answers 404: there is no such job") as caught:
        client.run_feed("coolr.nothing")

    assert not caught.value.retryable


def test_wrong_key_is_said_to_be_wrong(app):
    """The host's answer has no text."""
    with pytest.raises(SluiceError, match=r"refuses the key \(401\)"):
        SluiceClient(f"{app.url}/api", "another", pause=0).run_system("genius")


def test_redirect_is_not_followed(app, client):
    """The key would go along."""
    app.busy = [Reply(302, b"", {"Location": f"{app.url}/elsewhere"})]

    with pytest.raises(SluiceError, match="302"):
        client.run_system("genius")

    assert 1 == len(app.seen)


def test_key_is_never_sent_unencrypted():
    """But to this machine."""
    with pytest.raises(SluiceError, match="write https"):
        SluiceClient("http://app.example.com/api", "the-key")


def test_app_that_is_away_is_a_failure_that_may_pass():
    """Port 9 of this machine answers nobody."""
    with pytest.raises(SluiceError, match="does not answer") as caught:
        SluiceClient("http://127.0.0.1:9/api", "the-key", pause=0).run_system("genius")

    assert caught.value.retryable


class Connection:
    def __init__(self, host, port=None, schema=None):
        self.host, self.port, self.schema, self.password = host, port, schema, "the-key"


@pytest.mark.parametrize("ending", ["", "/", "/api"])
def test_connection_of_airflow_names_the_app(app, ending):
    """With or without the path of the API; the host without scheme is https."""
    app.has("sync:a", "done")

    assert "done" == client_of(Connection(f"{app.url}{ending}")).job("sync:a")["state"]
    with pytest.raises(SluiceError, match="write https"):
        client_of(Connection("app.example.com", schema="http"))


# -- by the command


def test_command_loads_and_returns_what_it_prints(tmp_path, monkeypatch):
    """Sluice itself, in a process of its own; a file that it cannot read is the reason of the next failure."""
    monkeypatch.chdir(tmp_path)
    good = export_path(tmp_path / "exports", "delta", "20260224120000", "location")
    write_parquet(good, [{"LocationId": 1, "ModifiedOn": None, "IsDeleted": False}])

    (result,) = _sluice("load", str(tmp_path / "exports"))
    good.with_name("asset.parquet").write_bytes(b"nonsense")
    with pytest.raises(SluiceError, match=r"coolr.asset: .*asset.parquet is not a Parquet file") as caught:
        _sluice("load", str(tmp_path / "exports"))

    assert 1 == result["run"]["inserted"]
    assert caught.value.retryable


def test_wrong_use_of_the_command_is_not_retried():
    """The DAG has to be corrected."""
    with pytest.raises(SluiceError, match="No such option") as caught:
        _sluice("load", "x", "--nonsense")

    assert not caught.value.retryable


def test_command_that_is_not_there_is_named():
    """Not an error of Python."""
    with pytest.raises(SluiceError, match="no-sluice cannot be started"):
        Command(["no-sluice", "load"]).run(print)


def _sluice(*words):
    return Command([sys.executable, "-m", "shared", *words], {"PYTHONPATH": str(ROOT)}).run(print)


# -- the newest export


def test_newest_export_is_found_by_its_time():
    """As the example says; the names of files do not count, which the seed's max() compared."""
    assert 0 == doctest.testmod(exports).failed
    paths = ["Delta/C/20260224120000/asset.parquet", "Delta/C/20260224060000/zebra.parquet", "Delta/D/zz/x.parquet"]
    assert "Delta/C/20260224120000" == newest_export(paths)


@pytest.mark.parametrize(
    "paths", [[], ["20260224.parquet"], ["Delta/latest/x"], ["20261399/x"], ["\uff12\uff10260224/x"]]
)
def test_what_has_no_time_is_no_export(paths):
    """A file's name is none, nor is a day that does not exist, nor other digits."""
    assert newest_export(paths) is None


# -- in Airflow

DAG = """
import datetime as dt
from airflow.sdk import dag
from sluice_airflow.operators import SluiceRunOperator
from sluice_airflow.sensors import SluiceJobSensor

@dag(dag_id="{id}", schedule=None, start_date=dt.datetime(2026, 2, 24))
def made():
    {tasks}

made()
"""
GOOD = """run = SluiceRunOperator(task_id="run", system="genius", poll_seconds=0.01)
    waits = SluiceRunOperator(task_id="waits", feed="coolr.location", deferrable=False, poll_seconds=0.01)
    run >> waits >> SluiceJobSensor(task_id="deferred", jobs="blob:a") >> SluiceJobSensor(
        task_id="poked", jobs=["blob:a"], deferrable=False, poke_interval=0.1)"""
BAD = 'SluiceRunOperator(task_id="run", system="broken", retries=3, retry_delay=dt.timedelta(hours=1))'


@pytest.fixture
def airflow(tmp_path, app):
    """Runs a DAG in a real Airflow, with a database and a folder of its own; the exit code and what it printed."""
    if not AIRFLOW.exists():
        pytest.skip("Airflow is not here: make airflow installs it")
    dags = tmp_path / "dags"
    dags.mkdir()
    env = {
        **os.environ, "AIRFLOW_HOME": str(tmp_path), "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "PYTHONPATH": str(FOLDER),
        "AIRFLOW_CONN_SLUICE_DEFAULT": json.dumps({"conn_type": "http", "host": app.url, "password": "the-key"}),
        "COOLR_DELTAS": str(tmp_path / "exports"), "SLUICE_COMMAND": str(ROOT / ".venv" / "bin" / "sluice"),
    }  # fmt: skip

    def run(*words):
        return subprocess.run([AIRFLOW, *words], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)

    assert 0 == run("db", "migrate").returncode

    def tried(id, text):
        (dags / f"{id}.py").write_text(text)
        done = run("dags", "test", id)
        return done.returncode, done.stdout + done.stderr

    return tried


@pytest.mark.slow
def test_airflow_runs_feeds_and_systems_and_waits(airflow, app):
    """Operator and sensor, each deferred to the triggerer and not; a failure ends the run at once, with its reason."""
    app.starts |= {"systems/genius/run": ["sync:g"], "feeds/coolr.location/run": ["search:1"]}
    app.starts["systems/broken/run"] = ["sync:broken"]
    app.has("sync:g", "running", "done")
    app.has("search:1", "completed", found=["blob:a"])
    app.has("blob:a", "running", "running", "done")
    app.has("sync:broken", "failed", units=[{"status": "failed", "feed": "broken.t", "error": "no table t"}])

    code, printed = airflow("good", DAG.format(id="good", tasks=GOOD))
    failed, reason = airflow("bad", DAG.format(id="bad", tasks=BAD))

    assert 0 == code, printed[-3000:]
    assert "state=success" in printed
    assert 2 == printed.count("running trigger in line")
    assert 0 != failed or "state=failed" in reason
    assert "job sync:broken is failed: broken.t: no table t" in reason
    assert "UP_FOR_RETRY" not in reason.upper()


@pytest.mark.slow
def test_airflow_runs_the_example_of_coolr(airflow, tmp_path):
    """It loads what is there; nothing is skipped when two exports have arrived."""
    for stamp in ("20260224060000", "20260224120000"):
        file = export_path(tmp_path / "exports", "delta", stamp, "location")
        write_parquet(file, [{"LocationId": int(stamp), "ModifiedOn": None, "IsDeleted": False}])

    code, printed = airflow("coolr_delta_import", (FOLDER / "dags" / "coolr_delta_import.py").read_text())

    assert 0 == code, printed[-3000:]
    assert "state=success" in printed
    assert "Returned value was: Delta/Acme/20260224120000" in printed
    command = [ROOT / ".venv" / "bin" / "sluice", "history", "coolr.location", "--json"]
    runs = json.loads(subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout)
    assert ["done", "done"] == [run["status"] for run in runs]
