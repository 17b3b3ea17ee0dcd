"""The ledgers: what all of them do (``ledger_suite``), and what is particular to one."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
import threading

from functools import partial
from pathlib import Path

import pytest

from shared.errors import ConfigError, IngestError, TransientError
from shared.ledger import open_ledger, sqlite
from shared.ledger.sqlite import SqliteLedger
from shared.model import Watermark
from tests.standins.fakes import MemoryLedger
from tests.suites.ledger_suite import FEED, LedgerSuite, StoredLedgerSuite, done

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0
"""Seconds to wait for a lock that is about to be released."""


class TestMemoryLedger(LedgerSuite):
    """The fake that other tests use."""

    @pytest.fixture
    def ledger(self):
        return MemoryLedger()

    @pytest.fixture
    def second(self, ledger):
        return ledger


FIRST_LAYOUT = """
    CREATE TABLE watermark (feed TEXT PRIMARY KEY, value TEXT, type TEXT, etag INTEGER NOT NULL);
    CREATE TABLE work (feed TEXT, work TEXT, name TEXT NOT NULL, run TEXT NOT NULL, status TEXT NOT NULL,
        times INTEGER NOT NULL, exported_at TEXT, PRIMARY KEY (feed, work)) WITHOUT ROWID;
    INSERT INTO watermark VALUES ('coolr.location', '10', 'bigint', 1);
    INSERT INTO work VALUES
        ('coolr.location', 'w1', 'w1.parquet', 'r1', 'done', 1, '2026-01-01T00:00:00.000000'),
        ('coolr.location', 'w2', 'w2.parquet', 'r1', 'failed', 0, '2026-01-01T00:00:00.000000');
    PRAGMA user_version = 1;
"""
"""What the first layout wrote. Never to be changed: such files are out there."""


class StoredFile:
    """A ledger's file, looked into by SQLite itself."""

    newest = 4

    def __init__(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._file, self._monkeypatch = file, monkeypatch

    @property
    def layout(self) -> int:
        return self._first_value("PRAGMA user_version") if self._file.exists() else 0

    @layout.setter
    def layout(self, layout: int) -> None:
        self._first_value(f"PRAGMA user_version = {layout}")

    def make_first(self) -> None:
        with contextlib.closing(sqlite3.connect(self._file)) as db:
            db.executescript(FIRST_LAYOUT)

    def know_newer(self) -> None:
        self._monkeypatch.setattr(sqlite, "LAYOUT", self.newest + 1)

    def _first_value(self, statement: str) -> int:
        with contextlib.closing(sqlite3.connect(self._file)) as db:
            return (db.execute(statement).fetchone() or [0])[0]


class TestSqliteLedger(StoredLedgerSuite):
    """The embedded ledger."""

    @pytest.fixture
    def stored(self, file, monkeypatch):
        return StoredFile(file, monkeypatch)

    @pytest.fixture
    def file(self, tmp_path):
        return tmp_path / "ledger.db"

    @pytest.fixture
    def ledger(self, file):
        return open_ledger(f"sqlite:///{file}", lock_timeout=PATIENCE)

    @pytest.fixture
    def second(self, file):
        return SqliteLedger(file, PATIENCE)

    def test_nothing_of_a_commit_stays_when_the_database_fails_half_way(self, ledger, file):
        """The watermark has moved and one work is written when the disk says no."""
        ledger.commit(FEED, [])
        with sqlite3.connect(file) as db:
            db.execute(
                "CREATE TRIGGER broken BEFORE INSERT ON work WHEN NEW.work = 'w2'"
                " BEGIN SELECT RAISE(ABORT, 'no more'); END"
            )
        db.close()

        with pytest.raises(IngestError, match="no more"):
            ledger.commit(FEED, [done("w1"), done("w2")], Watermark("10", "bigint"))
        assert Watermark() == ledger.watermark(FEED)
        assert {} == ledger.known(FEED, ["w1", "w2"])

    def test_two_processes_lose_nothing(self, ledger, file):
        """Each records its own works and raises the watermark, over and over, against the other."""
        program = (
            "import sys; from dataclasses import replace\n"
            "from shared.errors import ConflictError\n"
            "from shared.ledger.sqlite import SqliteLedger\n"
            "from shared.model import Record\n"
            "from pathlib import Path\n"
            "ledger = SqliteLedger(Path(sys.argv[1]), 30)\n"
            "for n in range(15):\n"
            "    work = f'{sys.argv[2]}{n}'\n"
            "    record = Record(work=work, name=work, run=work, status='done', times=0)\n"
            "    while True:\n"
            "        seen = ledger.watermark('f')\n"
            "        count = str(int(seen.value or 0) + 1)\n"
            "        try:\n"
            "            ledger.commit('f', [record], replace(seen, value=count, type='bigint'))\n"
            "        except ConflictError:\n"
            "            continue\n"
            "        break\n"
        )
        processes = [
            subprocess.Popen([sys.executable, "-c", program, str(file), name], cwd=ROOT, stderr=subprocess.PIPE)
            for name in "ab"
        ]
        complaints = [process.communicate()[1] for process in processes]

        assert [b"", b""] == complaints
        assert "30" == ledger.watermark("f").value
        assert 30 == len(ledger.known("f", [f"{name}{n}" for name in "ab" for n in range(15)]))

    def test_waits_for_whoever_holds_the_file(self, ledger, file):
        """Only for so long; then the caller hears that it may work later, and which file is meant."""
        ledger.commit(FEED, [done("w1")])
        hasty = SqliteLedger(file, 0.01)
        holder = sqlite3.connect(file, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")

        with pytest.raises(TransientError, match=f"has the ledger open: {file}") as caught:
            hasty.commit(FEED, [done("w2")])
        holder.execute("ROLLBACK")
        holder.close()
        hasty.commit(FEED, [done("w3")])

        assert _is_one_line(caught.value)
        assert ["w1", "w3"] == list(ledger.known(FEED, ["w1", "w2", "w3"]))

    def test_goes_on_when_the_lock_is_released(self, ledger, file):
        """Somebody else writes; the call waits, then does its work."""
        ledger.commit(FEED, [])
        holder = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        holder.execute("BEGIN IMMEDIATE")
        holder.execute("INSERT INTO watermark (feed, value, type, etag) VALUES ('coolr.location', '10', 'bigint', 1)")
        release = _soon(lambda: holder.execute("COMMIT"))

        seen = ledger.watermark(FEED)
        release.join()
        holder.close()

        assert "10" == seen.value

    def test_file_that_is_no_database_is_refused_and_left_alone(self, ledger, file):
        """LEDGER_URL points to something else."""
        file.write_text("Dear diary, " * 100)

        with pytest.raises(ConfigError, match="is not a ledger") as caught:
            ledger.commit(FEED, [done()])
        assert _is_one_line(caught.value)
        assert "Dear diary, " * 100 == file.read_text()

    def test_database_of_something_else_is_refused_and_left_alone(self, ledger, file):
        """It opens, but its tables are not ours."""
        with sqlite3.connect(file) as db:
            db.execute("CREATE TABLE work (colour TEXT)")
        db.close()

        with pytest.raises(ConfigError) as caught:
            ledger.watermark(FEED)
        assert _is_one_line(caught.value)
        with sqlite3.connect(file) as db:
            assert [("work",)] == db.execute("SELECT name FROM sqlite_master").fetchall()
        db.close()

    def test_full_disk_is_reported_in_one_line(self, ledger, file, monkeypatch):
        """It may work later, when there is room."""
        ledger.commit(FEED, [])
        with monkeypatch.context() as patched:
            patched.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=_Cramped))
            with pytest.raises(TransientError, match="cannot be written") as caught:
                ledger.commit(FEED, [done(f"w{n}") for n in range(2_000)])

        assert _is_one_line(caught.value)
        assert {} == ledger.known(FEED, ["w0"])

    def test_folder_in_place_of_the_file_is_reported_in_one_line(self, ledger, file):
        """The path is taken."""
        file.mkdir()

        with pytest.raises(ConfigError, match="cannot be opened") as caught:
            ledger.watermark(FEED)
        assert _is_one_line(caught.value)

    def test_file_in_place_of_the_folder_is_reported_in_one_line(self, tmp_path):
        """The folder of the ledger cannot be made."""
        (tmp_path / "file").write_text("")

        with pytest.raises(ConfigError, match=str(tmp_path / "file")) as caught:
            open_ledger(f"sqlite:///{tmp_path}/file/ledger.db", lock_timeout=0.01).watermark(FEED)
        assert _is_one_line(caught.value)

    def test_folders_of_the_file_are_made(self, tmp_path):
        """The first call on a new machine needs nothing prepared."""
        open_ledger(f"sqlite:///{tmp_path}/a/b/ledger.db", lock_timeout=1).commit(FEED, [done()])

        assert (tmp_path / "a" / "b" / "ledger.db").is_file()

    def test_file_is_not_held_between_calls(self, ledger, file):
        """It can be copied, moved or deleted at any time between two verbs."""
        ledger.commit(FEED, [done()])
        file.rename(file.with_suffix(".moved"))

        assert {} == ledger.known(FEED, ["w1"])

    @pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "tables://somewhere", "ledger.db", ""])
    def test_url_that_names_no_ledger_is_refused(self, url):
        """With how to write one."""
        with pytest.raises(ConfigError, match="sqlite://") as caught:
            open_ledger(url, lock_timeout=1)
        assert _is_one_line(caught.value)


class _Cramped(sqlite3.Connection):
    """A connection to a file that cannot grow."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        pages = self.execute("PRAGMA page_count").fetchone()[0]
        self.execute(f"PRAGMA max_page_count = {pages}")


def _soon(act):
    timer = threading.Timer(0.05, act)
    timer.start()
    return timer


def _is_one_line(error: IngestError) -> bool:
    return "\n" not in str(error)
