"""Places of addresses, by the bundled data and by a database of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from pipelines.enrichment import geo
from pipelines.errors import ConfigurationError

GEOLITE = {
    "country": {"iso_code": "GB", "names": {"en": "United Kingdom"}},
    "subdivisions": [{"iso_code": "ENG", "names": {"en": "England"}}, {"names": {"en": "Kent"}}],
    "city": {"names": {"de": "Boxford", "en": "Boxford"}},
}


def database(path: Path, records: dict[str, Any], ip_version: int = 6) -> str:
    writer = MMDBWriter(ip_version, ipv4_compatible=ip_version == 6)
    for network, record in records.items():
        writer.insert_network(IPSet([network]), record)
    writer.to_db_file(str(path))
    return str(path)


def places(values: list[str | None], mmdb: str | None = None) -> list[tuple[str | None, ...]]:
    found = geo.lookup(pa.array(values, pa.string()), mmdb)
    assert found.schema == geo.SCHEMA
    return [tuple(row.values()) for row in found.to_pylist()]


def test_bundled_data_knows_the_country_of_ipv4_and_ipv6() -> None:
    assert places(["193.99.144.80", "2001:630::1", "202.12.27.33"]) == [
        ("193.99.144.80", "DE", None, None),  # a publisher in Hannover
        ("2001:630::1", "GB", None, None),  # the British universities' network
        ("202.12.27.33", "JP", None, None),  # a root name server in Tokyo
    ]


PRIVATE = ["10.0.0.1", "192.168.1.1", "127.0.0.1", "100.64.0.1", "198.18.0.1", "169.254.1.1", "::1", "fe80::1%eth0"]
RESERVED = ["fd00::1", "2001:db8::1", "255.255.255.255", "0.0.0.0"]
MALFORMED = ["1.2.3", "1.2.3.4.5", "256.1.1.1", "host", "", "-", None]


@pytest.mark.parametrize("value", [*PRIVATE, *RESERVED, *MALFORMED])
def test_what_is_no_public_address_has_no_place(value: str | None) -> None:
    assert geo.public(value) is None
    assert places([value]) == [(value, None, None, None)]


@pytest.mark.parametrize(
    ("value", "address"),
    [
        (" 193.99.144.80 ", "193.99.144.80"),
        ("193.99.144.80:52144", "193.99.144.80"),
        ("193.99.144.80, 10.0.0.1", "193.99.144.80"),
        ("::ffff:193.99.144.80", "193.99.144.80"),
        ("[2001:630::1]:443", "2001:630::1"),
        ("2001:0630:0000::0001", "2001:630::1"),
    ],
)
def test_an_address_may_come_with_what_proxies_add(value: str, address: str) -> None:
    assert geo.public(value) == address


def test_a_database_of_ones_own_replaces_the_bundled_data(tmp_path: Path) -> None:
    mmdb = database(tmp_path / "city.mmdb", {"81.2.69.0/24": GEOLITE, "2001:630::/32": {"country": {"iso_code": "gb"}}})
    assert places(["81.2.69.142", "2001:630::1", "193.99.144.80", "10.0.0.1"], mmdb) == [
        ("81.2.69.142", "GB", "England", "Boxford"),
        ("2001:630::1", "GB", None, None),
        ("193.99.144.80", None, None, None),  # not in it, though the bundled data knows it
        ("10.0.0.1", None, None, None),
    ]


def test_databases_of_several_makers_are_understood(tmp_path: Path) -> None:
    records = {
        "81.2.69.0/24": {"country_code": "GB", "country": "United Kingdom", "continent": "Europe"},
        "81.2.70.0/24": {"country": "GB", "region": "England", "city": "Boxford"},
        "81.2.71.0/24": {"registered_country": {"iso_code": "GB"}, "city": {"names": {"fr": "Boxford"}}},
        "81.2.72.0/24": {"asn": "AS1"},
    }
    mmdb = database(tmp_path / "any.mmdb", records, ip_version=4)
    assert places(["81.2.69.1", "81.2.70.1", "81.2.71.1", "81.2.72.1", "2001:630::1"], mmdb) == [
        ("81.2.69.1", "GB", None, None),
        ("81.2.70.1", "GB", "England", "Boxford"),
        ("81.2.71.1", "GB", None, "Boxford"),
        ("81.2.72.1", None, None, None),
        ("2001:630::1", None, None, None),  # the database holds IPv4 only
    ]


def test_a_database_that_is_missing_or_none_is_one_clear_line(tmp_path: Path) -> None:
    text = tmp_path / "places.csv"
    text.write_text("ip,country\n")
    nothing = pa.array([], pa.string())
    with pytest.raises(ConfigurationError, match=rf"^conf/settings: geo.mmdb: no such file: {tmp_path}/no.mmdb$"):
        geo.lookup(nothing, str(tmp_path / "no.mmdb"))
    with pytest.raises(ConfigurationError, match=rf"^conf/settings: geo.mmdb: not an MMDB database: {text}$"):
        geo.lookup(nothing, str(text))
