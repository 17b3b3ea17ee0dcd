"""Errors are one line: what happened, and what to do."""

from __future__ import annotations

import pickle

from shared.errors import DataError


def test_an_error_is_one_line_whatever_a_file_is_called():
    """A name with a line break does not tear the message apart."""
    error = DataError("a\nb.parquet is empty", fix="Ask for it again")

    assert "a b.parquet is empty. Ask for it again." == str(error)


def test_an_error_survives_the_way_to_another_process():
    """With problem and fix, and as the kind it was."""
    error = pickle.loads(pickle.dumps(DataError("a is empty", fix="Ask for it again")))  # noqa: S301 - our own

    assert (DataError, "a is empty", "Ask for it again") == (type(error), error.problem, error.fix)
