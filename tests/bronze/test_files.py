"""Landing files: what is new, what is known, what is passed over."""

from __future__ import annotations

import gzip
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from pipelines.bronze.files import LandingFile, Listing, list_new
from pipelines.errors import ConfigurationError


def taken(*files: LandingFile, batch: int = 1) -> list[dict[str, Any]]:
    """The rows of bronze.files after these files were taken."""
    return [{**vars(file), "batch_id": batch} for file in files]


def names(listing: Listing) -> list[str]:
    return [Path(file.path).name for file in listing.new]


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    """A folder with two files, one of them in a folder of its own."""
    (tmp_path / "day").mkdir()
    (tmp_path / "a.jsonl").write_bytes(b"one\n")
    (tmp_path / "day" / "b.jsonl").write_bytes(b"two\n")
    return tmp_path


def test_every_file_of_a_folder_is_new_at_first(landing: Path) -> None:
    listing = list_new(str(landing), [])

    path = landing / "a.jsonl"
    assert listing.new[0] == LandingFile(
        path=str(path),
        size_bytes=4,
        modified_ns=path.stat().st_mtime_ns,
        sha256=hashlib.sha256(b"one\n").hexdigest(),
    )
    assert (names(listing), listing.known, listing.skipped) == (["a.jsonl", "b.jsonl"], 0, [])


def test_one_file_may_be_named(landing: Path) -> None:
    assert names(list_new(str(landing / "day" / "b.jsonl"), [])) == ["b.jsonl"]


def test_a_location_may_be_relative(landing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(landing)
    assert [file.path for file in list_new("day", []).new] == [str(landing / "day" / "b.jsonl")]


def test_a_gz_file_is_known_by_its_bytes_as_stored(tmp_path: Path) -> None:
    packed = gzip.compress(b"one\n")
    (tmp_path / "a.jsonl.gz").write_bytes(packed)
    assert list_new(str(tmp_path), []).new[0].sha256 == hashlib.sha256(packed).hexdigest()


def test_what_was_taken_is_known(landing: Path) -> None:
    before = taken(*list_new(str(landing), []).new)
    (landing / "c.jsonl").write_bytes(b"three\n")

    listing = list_new(str(landing), before)

    assert (names(listing), listing.known) == (["c.jsonl"], 2)


def test_a_touched_file_with_the_same_bytes_is_known(landing: Path) -> None:
    before = taken(*list_new(str(landing), []).new)
    os.utime(landing / "a.jsonl", ns=(1, 1))
    assert names(list_new(str(landing), before)) == []


def test_a_file_that_grew_under_its_name_is_new(landing: Path) -> None:
    before = taken(*list_new(str(landing), []).new)
    (landing / "a.jsonl").write_bytes(b"one\nand more\n")

    listing = list_new(str(landing), before)

    assert (names(listing), listing.known) == (["a.jsonl"], 1)


def test_a_file_with_other_bytes_is_new_though_name_and_size_are_the_same(landing: Path) -> None:
    before = taken(*list_new(str(landing), []).new)
    (landing / "a.jsonl").write_bytes(b"ONE\n")
    os.utime(landing / "a.jsonl", ns=(1, 1))
    assert names(list_new(str(landing), before)) == ["a.jsonl"]


def test_a_file_that_is_put_back_as_it_was_is_known(landing: Path) -> None:
    first = list_new(str(landing / "a.jsonl"), []).new
    (landing / "a.jsonl").write_bytes(b"other\n")
    second = list_new(str(landing / "a.jsonl"), taken(*first)).new
    (landing / "a.jsonl").write_bytes(b"one\n")
    assert names(list_new(str(landing / "a.jsonl"), taken(*first) + taken(*second, batch=2))) == []


def test_the_same_bytes_under_another_name_are_new(landing: Path) -> None:
    before = taken(*list_new(str(landing), []).new)
    (landing / "copy.jsonl").write_bytes(b"one\n")
    assert names(list_new(str(landing), before)) == ["copy.jsonl"]


def test_names_that_spark_does_not_read_are_passed_over_and_reported(landing: Path) -> None:
    hidden = ["_SUCCESS", ".a.jsonl.swp", ".staging/c.jsonl", "_tmp/c.jsonl", "c.jsonl._COPYING_"]
    for name in hidden:
        (landing / name).parent.mkdir(exist_ok=True)
        (landing / name).write_bytes(b"x\n")

    listing = list_new(str(landing), [])

    assert names(listing) == ["a.jsonl", "b.jsonl"]
    assert sorted(listing.skipped) == sorted(str(landing / name) for name in hidden)


def test_a_hidden_file_is_passed_over_even_when_it_is_named_itself(landing: Path) -> None:
    (landing / "_part.jsonl").write_bytes(b"x\n")
    listing = list_new(str(landing / "_part.jsonl"), [])
    assert (listing.new, listing.skipped) == ([], [str(landing / "_part.jsonl")])


def test_hidden_folders_above_the_location_do_not_matter(landing: Path) -> None:
    (landing / "_landing").mkdir()
    (landing / "_landing" / "a.jsonl").write_bytes(b"x\n")
    assert names(list_new(str(landing / "_landing"), [])) == ["a.jsonl"]


def test_a_name_that_spark_cannot_read_is_refused(landing: Path) -> None:
    (landing / "12:30.jsonl").write_bytes(b"x\n")
    with pytest.raises(ConfigurationError, match=r"12:30\.jsonl: .* colon"):
        list_new(str(landing), [])


def test_an_empty_folder_offers_nothing(tmp_path: Path) -> None:
    assert list_new(str(tmp_path), []) == Listing(new=[], known=0, skipped=[])


@pytest.mark.parametrize("location", ["missing", "nowhere://bucket/prefix"])
def test_a_location_that_is_not_there_is_a_configuration_error(landing: Path, location: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^--input: .*{location}"):
        list_new(location if "://" in location else str(landing / location), [])
