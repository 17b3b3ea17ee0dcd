"""Measure the cleaners beside what their libraries take for one value after the other; write bench/RESULTS_CLEANERS.md.

    python -m bench.csv_clean                    1,000,000 values of each kind
    python -m bench.csv_clean --values 200000    a quick look

On one core, in batches as a CSV file is read. Values repeat as people come back; about half are not as they will be
stored, and some cannot be read at all.
"""

from __future__ import annotations

import argparse
import datetime as dt
import random
import re
import time

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import NamedTuple

import pyarrow as pa

from shared.contract.clean import CleanOptions, clean

PAGE = Path(__file__).with_name("RESULTS_CLEANERS.md")
BATCH = 20_000
ALONE = 20_000
"""Values that the library is measured with."""
TO_REACH = 200_000
RUNS = 3


class Column(NamedTuple):
    cleaner: str
    kind: str
    what: str
    """The values, in words."""
    value: Callable[[random.Random, int], str]
    """One value of a person, who comes back."""
    library: str
    alone: Callable[[str], object]


class Measured(NamedTuple):
    column: Column
    distinct: int
    faulty: int
    speeds: list[float]
    """Values a second of processor time."""
    alone: float


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--values", type=int, default=1_000_000)
    values = parser.parse_args().values
    pa.set_cpu_count(1)
    measured = [measure(column, values) for column in COLUMNS]
    PAGE.write_text("\n".join(page(measured, values)) + "\n", encoding="utf-8")
    print(PAGE.read_text(encoding="utf-8"))


def measure(column: Column, count: int) -> Measured:
    chance = random.Random(7)
    texts = [column.value(chance, chance.randrange(count * 45 // 100)) for _ in range(count)]
    batches = [pa.array(texts[start : start + BATCH]) for start in range(0, count, BATCH)]
    speeds, faulty = [], 0
    for _ in range(RUNS):
        forget()
        since = time.process_time()
        cleaned = [clean(batch, column.cleaner, column.kind, CleanOptions()) for batch in batches]
        speeds.append(count / (time.process_time() - since))
        faulty = sum(fault.where.true_count for one in cleaned for fault in one.faults)
    return Measured(column, len(set(texts)), faulty, speeds, one_by_one(column, texts[:ALONE]))


def one_by_one(column: Column, texts: list[str]) -> float:
    since = time.process_time()
    for text in texts:
        column.alone(text.strip())
    return len(texts) / (time.process_time() - since)


def forget() -> None:
    """What earlier runs left in the caches of values."""
    from shared.contract import mail, phone

    phone._e164.cache_clear()
    mail._normalised.cache_clear()


def page(measured: Sequence[Measured], count: int) -> Iterator[str]:
    yield "# Benchmark of the cleaners"
    yield ""
    yield f"{count:,} values of each column in batches of {BATCH:,}, on one core: values a second of processor time,"
    yield f"the median of {RUNS} runs with empty caches. The library alone is called for one value after the other,"
    yield f"{ALONE:,} of them. A value is that of one of {count * 45 // 100:,} people, or of a lead of theirs."
    yield "`python -m bench.csv_clean` makes this page."
    yield ""
    yield "| cleaner | values | different | faulty | values/s | library alone | values/s | times |"
    yield "|---|---|---:|---:|---:|---|---:|---:|"
    for column, distinct, faulty, speeds, alone in measured:
        yield (
            f"| {column.cleaner} | {column.what} | {distinct:,} | {faulty:,} | {median(speeds):,.0f} "
            f"| {column.library} | {alone:,.0f} | {median(speeds) / alone:.0f} |"
        )
    yield ""
    reached = all(
        median(one.speeds) >= TO_REACH for one in measured if one.column.cleaner in ("phone", "timestamp", "date")
    )
    yield f"To reach: {TO_REACH:,} phone numbers and dates a second. {'Reached' if reached else 'Not reached'}."


# -- values


def phone(chance: random.Random, person: int) -> str:
    own = random.Random(person)
    area, office, line = (
        own.choice([617, 508, 401, 212, 415, 512, 602, 773]),
        own.randrange(200, 999),
        own.randrange(10_000),
    )
    form = chance.choices(range(8), [30, 20, 15, 10, 10, 5, 8, 2])[0]
    return [
        f"+1{area}{office}{line:04}", f"({area}) {office}-{line:04}", f"{area}-{office}-{line:04}",
        f"{area}{office}{line:04}", f"1 {area}.{office}.{line:04}", f"{area}-{office}-{line:04} x{own.randrange(99)}",
        "",
        chance.choice(["n/a", "none", f"{office}-{line:04}", f"{area}-{office}-{line:04}9"]),
    ][form]  # fmt: skip


def email(chance: random.Random, person: int) -> str:
    form = chance.choices(range(5), [50, 30, 10, 8, 2])[0]
    return [
        f"person{person}@example.com", f"Person{person}@Example.COM", f" person{person}@mail.example.org ", "",
        chance.choice(["n/a", f"person{person}(at)example.com", f"person{person}@example"]),
    ][form]  # fmt: skip


def submitted(chance: random.Random, _person: int) -> str:
    when = dt.datetime(2025, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=chance.randrange(31_536_000))
    form = chance.choices(range(6), [45, 25, 10, 10, 8, 2])[0]
    return [
        f"{when:%Y-%m-%d %H:%M:%S}", f"{when:%m/%d/%Y %H:%M:%S}",
        f"{when.month}/{when.day}/{when.year} {when:%I:%M:%S %p}",
        f"{when:%m/%d/%Y %I:%M:%S %p} America/Chicago", "", chance.choice(["n/a", "02/30/2025", f"{when:%m/%d/%y}"]),
    ][form]  # fmt: skip


def born(chance: random.Random, person: int) -> str:
    day = dt.date(1940, 1, 1) + dt.timedelta(days=random.Random(person).randrange(25_000))
    form = chance.choices(range(5), [45, 35, 10, 8, 2])[0]
    return [
        f"{day:%Y-%m-%d}", f"{day.month}/{day.day}/{day.year}", f"{day:%Y/%m/%d}", "",
        chance.choice(["n/a", "0000-00-00"]),
    ][form]  # fmt: skip


def paid(chance: random.Random, _person: int) -> str:
    value = Decimal(chance.randrange(50_000_00)) / 100
    form = chance.choices(range(5), [45, 35, 10, 8, 2])[0]
    return [f"{value:.2f}", f"${value:,.2f}", f"({value:,.2f})", "", chance.choice(["n/a", "1,23", "12%"])][form]


def zip_code(chance: random.Random, person: int) -> str:
    code = random.Random(person).randrange(1001, 99_950)
    form = chance.choices(range(5), [45, 30, 15, 8, 2])[0]
    return [f"{code:05}", str(code), f"{code:05}-{person % 10_000:04}", "", "n/a"][form]


# -- what libraries take for one value

_FORMATS = (
    "%Y-%m-%d %H:%M:%S", "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %I:%M:%S %p", "%Y-%m-%d", "%m/%d/%Y", "%m-%d-%Y", "%Y/%m/%d",
)  # fmt: skip


def phonenumbers_alone(text: str) -> str | None:
    import phonenumbers

    try:
        number = phonenumbers.parse(text, "US")
    except phonenumbers.NumberParseException:
        return None
    valid = phonenumbers.is_valid_number(number)
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164) if valid else None


def email_validator_alone(text: str) -> str | None:
    import email_validator

    try:
        return email_validator.validate_email(text, check_deliverability=False).normalized
    except email_validator.EmailNotValidError:
        return None


def strptime_alone(text: str) -> dt.datetime | None:
    for form in _FORMATS:
        try:
            return dt.datetime.strptime(text, form).replace(tzinfo=dt.UTC)
        except ValueError:
            continue
    return None


def decimal_alone(text: str) -> Decimal | None:
    plain = re.sub(r"[$,)]", "", text).replace("(", "-")
    try:
        return Decimal(plain)
    except ArithmeticError:
        return None


def pattern_alone(text: str) -> str | None:
    found = re.fullmatch(r"(\d{3,5})(?:-(\d{4}))?", text)
    return found and found[1].zfill(5) + (f"-{found[2]}" if found[2] else "")


COLUMNS = [
    Column("phone", "text", "phone numbers in six forms", phone, "phonenumbers", phonenumbers_alone),
    Column("timestamp", "timestamp", "times of leads in four forms", submitted, "strptime, 7 formats", strptime_alone),
    Column("date", "date", "dates of birth in three forms", born, "strptime, 7 formats", strptime_alone),
    Column(
        "email",
        "text",
        "addresses, half of them with capitals or blanks",
        email,
        "email-validator",
        email_validator_alone,
    ),
    Column("amount", "decimal(18,2)", "amounts, half of them with signs", paid, "re and decimal", decimal_alone),
    Column("zip", "text", "ZIP codes without zeros, and ZIP+4", zip_code, "re", pattern_alone),
]


if __name__ == "__main__":
    main()
