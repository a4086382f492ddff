"""Only files are read, and only so much of them."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from odd_files import ODD, make_huge

from spotd.settings import ConfigurationError, load_settings
from spotd.settings.document import read_document
from spotd.settings.files import FileTooLarge, read_regular, refuse_unreadable
from spotd.settings.token_files import TokenFileError, read_token_file

CASES = pytest.mark.parametrize(("make", "why"), ODD.values(), ids=ODD)
Make = Callable[[Path], None]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file"


@CASES
def test_what_is_no_file_is_not_waited_for(make: Make, why: str, path: Path) -> None:
    make(path)

    with pytest.raises(OSError, match=f"(?i){why}"):
        read_regular(path, most_bytes=10)


@CASES
def test_a_configuration_that_is_no_file_is_one_sentence(make: Make, why: str, path: Path) -> None:
    make(path)

    with pytest.raises(ConfigurationError) as caught:
        load_settings(path, {})

    assert str(caught.value) == f"{path}: cannot be read: {why}"


@CASES
def test_a_token_that_is_no_file_is_one_sentence(make: Make, why: str, path: Path) -> None:
    make(path)

    with pytest.raises(TokenFileError) as caught:
        read_token_file(path)

    assert str(caught.value) == f"{path} cannot be read: {why}"


@CASES
def test_what_somebody_else_reads_is_looked_at_before(make: Make, why: str, path: Path) -> None:
    refuse_unreadable(path, most_bytes=10)  # nothing is there
    path.write_bytes(b"x" * 10)
    refuse_unreadable(path, most_bytes=10)
    path.write_bytes(b"x" * 11)
    with pytest.raises(FileTooLarge):
        refuse_unreadable(path, most_bytes=10)
    path.unlink()
    make(path)

    if "levels" not in why:  # which whoever reads it is told as well
        with pytest.raises(OSError, match=f"(?i){why}"):
            refuse_unreadable(path, most_bytes=10)


def test_a_file_is_read_up_to_its_bound(path: Path) -> None:
    path.write_bytes(b"x" * 10)
    path.chmod(0o640)
    found = read_regular(path, most_bytes=10)

    assert (b"x" * 10, False) == (found.content, found.is_world_readable)
    with pytest.raises(FileTooLarge):
        read_regular(path, most_bytes=9)


def test_a_link_to_a_file_is_followed(path: Path) -> None:
    """As a secret or a configuration of Kubernetes is."""
    path.write_bytes(b"x")
    link = path.with_name("link")
    link.symlink_to(path)

    assert b"x" == read_regular(link, most_bytes=1).content


def test_a_file_that_does_not_tell_its_length_is_bounded_too() -> None:
    with pytest.raises(FileTooLarge):
        read_regular(Path("/proc/self/status"), most_bytes=10)


def test_a_huge_file_takes_no_memory(path: Path) -> None:
    make_huge(path)
    tracemalloc.start()
    try:
        found = read_document(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert [f"{path}: is larger than 256 KiB"] == list(map(str, found.problems))
    assert peak < 1024**2
