"""Landing places: what is listed, under which names, what is passed over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pyarrow import fs

from pipelines.bronze.files import Landing, LandingFile, spark_path
from pipelines.errors import ConfigurationError, InfrastructureError


def names(landing: Landing) -> list[str]:
    return [Path(file.path).name for file in landing.list().files]


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    """A folder with two files, one of them in a folder of its own."""
    (tmp_path / "day").mkdir()
    (tmp_path / "a.jsonl").write_bytes(b"one\n")
    (tmp_path / "day" / "b.jsonl").write_bytes(b"two\n")
    return tmp_path


def test_every_file_of_a_folder_is_listed_with_its_size_and_time(landing: Path) -> None:
    listing = Landing.at(str(landing)).list()

    path = landing / "a.jsonl"
    assert listing.files[0] == LandingFile(str(path), 4, path.stat().st_mtime_ns)
    assert [file.path for file in listing.files] == [str(path), str(landing / "day" / "b.jsonl")]
    assert listing.skipped == []


@pytest.mark.parametrize("form", [str, lambda path: f"{path}/", lambda path: path.as_uri()])
def test_a_location_may_be_a_path_or_a_uri(landing: Path, form: Callable[[Path], str]) -> None:
    (landing / "a b%20c").mkdir()
    (landing / "a b%20c" / "d.jsonl").write_bytes(b"x\n")
    place = Landing.at(form(landing / "a b%20c"))
    (file,) = place.list().files
    assert file.path == str(landing / "a b%20c" / "d.jsonl")
    with place.open(file) as tap:
        assert tap.read(10) == b"x\n"


def test_one_file_may_be_named(landing: Path) -> None:
    place = Landing.at(str(landing / "day" / "b.jsonl"))
    (file,) = place.list().files
    assert file.path == str(landing / "day" / "b.jsonl")
    with place.open(file) as tap:
        assert tap.read(10) == b"two\n"


def test_a_location_may_be_relative(landing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(landing)
    assert [file.path for file in Landing.at("day").list().files] == [str(landing / "day" / "b.jsonl")]


@pytest.mark.parametrize(
    ("location", "root", "listed"),
    [
        ("s3://bucket/landing", "bucket/landing", "s3a://bucket/landing/day/b.jsonl"),
        ("s3a://bucket/landing/", "bucket/landing", "s3a://bucket/landing/day/b.jsonl"),
        ("s3://bucket/my%20files?region=eu-west-1", "bucket/my files", "s3a://bucket/my files/day/b.jsonl"),
        ("gs://bucket", "bucket", "gs://bucket/day/b.jsonl"),
        ("hdfs://name:8020/landing", "/landing", "hdfs://name:8020/landing/day/b.jsonl"),
        (
            "abfss://box@account.dfs.core.windows.net/landing",
            "box/landing",
            "abfss://box@account.dfs.core.windows.net/landing/day/b.jsonl",
        ),
    ],
)
def test_files_of_an_object_store_are_listed_under_the_names_by_which_spark_reads_them(
    landing: Path, tmp_path_factory: pytest.TempPathFactory, location: str, root: str, listed: str
) -> None:
    store = tmp_path_factory.mktemp("store")
    (store / root.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
    (store / root.lstrip("/")).symlink_to(landing)
    place = Landing(fs.SubTreeFileSystem(str(store), fs.LocalFileSystem()), root, spark_path(location))

    found = {Path(file.path).name: file for file in place.list().files}

    assert found["b.jsonl"].path == listed
    with place.open(found["b.jsonl"]) as tap:
        assert tap.read(10) == b"two\n"
    assert place.is_unchanged(found["b.jsonl"])


@pytest.mark.fault(
    of="files", injected="names that begin with `_` or `.`", holds="they are passed over, and the run names them"
)
def test_hidden_and_unfinished_names_are_passed_over_and_reported(landing: Path) -> None:
    hidden = ["_SUCCESS", ".a.jsonl.swp", ".staging/c.jsonl", "_tmp/c.jsonl", "c.jsonl._COPYING_"]
    for name in hidden:
        (landing / name).parent.mkdir(exist_ok=True)
        (landing / name).write_bytes(b"x\n")

    place = Landing.at(str(landing))

    assert names(place) == ["a.jsonl", "b.jsonl"]
    assert sorted(place.list().skipped) == sorted(str(landing / name) for name in hidden)


def test_a_hidden_file_is_passed_over_even_when_it_is_named_itself(landing: Path) -> None:
    (landing / "_part.jsonl").write_bytes(b"x\n")
    listing = Landing.at(str(landing / "_part.jsonl")).list()
    assert (listing.files, listing.skipped) == ([], [str(landing / "_part.jsonl")])


def test_hidden_folders_above_the_location_do_not_matter(landing: Path) -> None:
    (landing / "_landing").mkdir()
    (landing / "_landing" / "a.jsonl").write_bytes(b"x\n")
    assert names(Landing.at(str(landing / "_landing"))) == ["a.jsonl"]


def test_an_empty_folder_offers_nothing(tmp_path: Path) -> None:
    assert Landing.at(str(tmp_path)).list().files == []


def test_a_file_that_changed_or_vanished_is_not_the_listed_one(landing: Path) -> None:
    place = Landing.at(str(landing))
    a, b = place.list().files
    assert place.is_unchanged(a)
    (landing / "a.jsonl").write_bytes(b"one\ntwo\n")
    (landing / "day" / "b.jsonl").unlink()
    assert not place.is_unchanged(a)
    assert not place.is_unchanged(b)


@pytest.mark.parametrize("location", ["missing", "nowhere://bucket/prefix"])
@pytest.mark.fault(of="configuration", injected="a landing place that does not exist", holds="one line, exit code 2")
def test_a_location_that_is_not_there_is_a_configuration_error(landing: Path, location: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^--input: .*{location}"):
        Landing.at(location if "://" in location else str(landing / location)).list()


def test_a_place_that_cannot_be_listed_is_an_infrastructure_error() -> None:
    class Refusing:
        def get_file_info(self, _: str) -> None:
            raise PermissionError(13, "Permission denied")

    place = Landing(Refusing(), "bucket/x", "s3a://bucket/x")
    with pytest.raises(InfrastructureError, match="s3a://bucket/x: cannot be listed: Permission denied"):
        place.list()
