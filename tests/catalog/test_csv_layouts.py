"""The layouts that come with the package: aliases work, references lead somewhere, cleaners fit their types."""

from __future__ import annotations

import pytest

from shared.catalog import PACKAGED, read
from shared.contract.clean import CLEANERS
from shared.contract.mapping import accepted_headers, map_headers
from shared.model import Feed

FEEDS = {feed.name: feed for system in read(PACKAGED).values() for feed in system.feeds() if feed.layout}
COLUMNS = [(feed, column) for feed in FEEDS.values() if feed.layout for column in feed.layout.columns]

LEADS = {
    "lead_id": "lead_id, id, leadid, _id", "flow_id": "flow_id, flowid", "source_id": "source_id",
    "flow_name": "flow_name", "source_name": "source_name, source",
    "first_name": "first_name, firstname, fname", "last_name": "last_name, lastname, lname",
    "email": "email, email_address", "phone_1": "phone_1, phone1, phone, primary_phone, phone_number",
    "phone_2": "phone_2, secondary_phone, alternate_phone",
    "address_1": "address_1, address1, address, street_address", "address_2": "address_2, address_line_2",
    "city": "city", "state": "state, state_province", "postal_code": "postal_code, postalcode, zip, zip_code",
    "country": "country", "campaign": "campaign, campaign_name", "ad_group": "ad_group, adgroup, ad_group_name",
    "keyword": "keyword, kw, search_term", "utm_source": "utm_source", "utm_medium": "utm_medium",
    "utm_campaign": "utm_campaign", "utm_content": "utm_content", "utm_term": "utm_term",
    "quality_score": "quality_score, score", "lead_score": "lead_score", "is_duplicate": "is_duplicate, duplicate, dup",
    "ip_address": "ip_address, ip", "user_agent": "user_agent, ua", "referring_url": "referring_url, referrer, ref_url",
    "landing_page": "landing_page, lp", "hs_createdate": "createdate", "hs_lastmodifieddate": "lastmodifieddate",
    "hs_object_id": "hs_object_id", "hs_lead_status": "lead_status", "hs_lifecyclestage": "lifecyclestage",
    "salesrabbit_lead_id": "salesrabbit_lead_id, sr_lead_id", "status": "status", "disposition": "disposition, outcome",
    "submission_timestamp": "submission_timestamp, submission_time, created_at, timestamp",
}  # fmt: skip
"""The headers that exports of LeadConduit are known to have, by column."""


def taken_by(feed: Feed, header: str) -> str:
    assert feed.layout is not None
    return map_headers([header], feed.layout).columns[0].name


@pytest.mark.parametrize("feed", FEEDS.values(), ids=FEEDS)
def test_every_alias_finds_its_column(feed: Feed) -> None:
    """None is taken by a column before it."""
    assert feed.layout is not None
    aliases = [(column.name, header) for column in feed.layout.columns for header in accepted_headers(column)]

    assert aliases == [(taken_by(feed, header), header) for _, header in aliases]


def test_every_cleaner_makes_the_type_of_its_column() -> None:
    wrong = [
        (feed.name, column.name)
        for feed, column in COLUMNS
        if column.cleaner and column.type.partition("(")[0] not in CLEANERS[column.cleaner]
    ]

    assert [] == wrong


def test_every_reference_leads_to_the_key_of_a_feed() -> None:
    wanted = {key for feed in FEEDS.values() for key in feed.references.values()}

    assert wanted
    assert wanted <= {f"{feed.name}.{feed.keys[0]}" for feed in FEEDS.values() if len(feed.keys) == 1}


@pytest.mark.parametrize(("column", "headers"), LEADS.items(), ids=LEADS)
def test_known_headers_of_leads_find_their_columns(column: str, headers: str) -> None:
    """However a person writes them."""
    feed = FEEDS["leadconduit.leads"]
    written = [one for header in headers.split(", ") for one in (header, header.upper(), f"{header.title()} (old)")]

    assert {column} == {taken_by(feed, one) for one in written}
