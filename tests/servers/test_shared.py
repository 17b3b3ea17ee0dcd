"""A server that several processes use runs once, and no longer than they do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from pathlib import Path

import pytest

from tests.servers.noted import Noted
from tests.servers.shared import ROOT, shared

USER = """
import sys
from pathlib import Path
from tests.servers.noted import Noted
from tests.servers.shared import shared
with shared(lambda: Noted(Path(sys.argv[1])), Path(sys.argv[1])):
    print("in use", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def server(tmp_path: Path) -> Noted:
    return Noted(tmp_path)


def other_user(server: Noted) -> subprocess.Popen[str]:
    """A process that uses the server until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", USER, str(server.folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    assert process.stdout is not None
    assert "in use\n" == process.stdout.readline()
    return process


def test_users_share_one_server_that_stops_after_the_last(server):
    """The next one to come starts another."""
    with shared(lambda: server, server.folder), shared(lambda: server, server.folder):
        assert ["start"] == server.notes()
    with server.running:
        assert ["start", "stop"] == server.notes()
    with shared(lambda: server, server.folder):
        assert ["start", "stop", "start"] == server.notes()


def test_the_server_outlives_the_process_that_started_it(server):
    """While another one uses it."""
    with other_user(server) as first, shared(lambda: server, server.folder):
        first.communicate()
        assert ["start"] == server.notes()


def test_the_server_stops_after_a_user_that_was_killed(server):
    """Nobody has to clean up for it."""
    with other_user(server) as killed:
        killed.kill()
        killed.communicate()

    with server.running:
        assert ["start", "stop"] == server.notes()


def test_a_server_whose_holder_was_killed_is_started_again(server):
    """Those who still believe in it find out; whoever comes later has another."""
    with other_user(server) as believer:
        os.kill(int((server.folder / "pid").read_text()), signal.SIGKILL)
        with server.running:  # it is free once the holder is gone
            pass
        with shared(lambda: server, server.folder):
            assert ["start", "start"] == server.notes()
        believer.communicate()


def test_why_a_server_does_not_start_is_reported(server):
    """And the next one may try again."""
    broken = Noted(server.folder, fails=True)

    with pytest.raises(RuntimeError, match="no port is free"), shared(lambda: broken, server.folder):
        pass

    with shared(lambda: server, server.folder):
        assert ["start"] == server.notes()
