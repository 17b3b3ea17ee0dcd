"""The state stores: what all of them do (``state_suite``), and what is particular to one."""

from __future__ import annotations

import pytest

from shared.documents import open_documents, read_json, to_json
from shared.errors import TransientError
from shared.settings import Settings
from tests.advice import advised
from tests.suites.documents_suite import DocumentsSuite


class TestLocalState(DocumentsSuite):
    """A folder of this machine."""

    @pytest.fixture
    def folder(self, tmp_path):
        return tmp_path / "state"

    @pytest.fixture
    def state(self, folder):
        return open_documents(Settings(state_url=str(folder)))

    @pytest.fixture
    def second(self, folder):
        return open_documents(Settings(state_url=folder.as_uri()))

    def test_nothing_is_made_before_something_is_written(self, state, folder):
        """Looking leaves no folder behind."""
        state.get("a")
        list(state.entries(""))

        assert not folder.exists()

    def test_what_is_being_written_is_not_listed(self, state, folder):
        """A reader never sees half a document."""
        state.put("jobs/a", b"x")
        (folder / "jobs" / ".unfinished-1").write_bytes(b"half")

        assert ["jobs/a"] == [entry.name for entry in state.entries("jobs/")]

    def test_a_place_that_cannot_be_written_to_is_named(self, tmp_path):
        """With the setting to change, which helps."""
        (tmp_path / "file").write_text("in the way")

        with advised("Name a folder in {} that can be written to") as advice:
            open_documents(Settings(state_url=str(tmp_path / "file"))).put("a", b"x")

        assert ("STATE_URL",) == advice.values
        open_documents(Settings(state_url=str(tmp_path / "folder"))).put("a", b"x")


class TestBlobState(DocumentsSuite):
    """A container of Azurite, made by the first write."""

    @pytest.fixture
    def settings(self, azurite, request):
        name = f"state-{abs(hash(request.node.name)):x}"
        return Settings(
            state_url=f"{azurite.blob_url}/{name}", storage_connection_string=azurite.connection_string
        )  # fmt: skip

    @pytest.fixture
    def state(self, settings):
        return open_documents(settings)

    @pytest.fixture
    def second(self, settings):
        return open_documents(settings)

    def test_a_folder_of_a_container_is_a_store_of_its_own(self, azurite, settings, state):
        """Names are those below it."""
        below = open_documents(Settings(
            state_url=f"{settings.state_url}/app/", storage_connection_string=azurite.connection_string
        ))  # fmt: skip
        below.put("jobs/a", b"x")

        assert ["jobs/a"] == [entry.name for entry in below.entries("jobs/")]
        assert ["app/jobs/a"] == [entry.name for entry in state.entries("")]


def test_a_store_that_is_away_may_be_back_later(private_azurite, monkeypatch):
    """What it says has no key in it."""
    import stamina

    server = private_azurite()
    settings = Settings(state_url=f"{server.blob_url}/state", storage_connection_string=server.connection_string)
    server.kill()

    with stamina.set_testing(True, attempts=2), pytest.raises(TransientError) as caught:
        open_documents(settings).put("a", b"x")

    assert server.key not in str(caught.value)


def test_json_comes_back_as_it_was():
    """With letters of all alphabets."""
    assert {"a": ["ж", 1, None]} == read_json(_One(to_json({"a": ["ж", 1, None]})), "a")


class _One:
    def __init__(self, content):
        self._content = content

    def get(self, _name):
        return self._content
