"""Workbooks with something odd in them, and archives that are not what they seem."""

from __future__ import annotations

import zipfile

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import openpyxl

from openpyxl.worksheet.worksheet import Worksheet


def workbook(path: Path, rows: list[list[Any]], change: Callable[[Worksheet], object] = lambda sheet: None) -> Path:
    """A workbook of one sheet."""
    book = openpyxl.Workbook()
    sheet = book.active
    assert isinstance(sheet, Worksheet)
    for row in rows:
        sheet.append(row)
    change(sheet)
    book.save(path)
    return path


def with_results(path: Path, results: Mapping[str, str]) -> Path:
    """The workbook with a result for each formula, as a spreadsheet program saves it."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    sheet = parts["xl/worksheets/sheet1.xml"].decode()
    for formula, result in results.items():
        assert f"<f>{formula}</f><v" in sheet
        sheet = sheet.replace(f"<f>{formula}</f><v />", f"<f>{formula}</f><v>{result}</v>")
        sheet = sheet.replace(f"<f>{formula}</f><v></v>", f"<f>{formula}</f><v>{result}</v>")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {**parts, "xl/worksheets/sheet1.xml": sheet.encode()}.items():
            archive.writestr(name, content)
    return path


def encrypted(path: Path) -> Path:
    """The archive, whose members say that they are encrypted."""
    raw = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = raw.find(signature)
        while start >= 0:
            raw[start + flags] |= 1
            start = raw.find(signature, start + 4)
    path.write_bytes(raw)
    return path
