"""What spotd makes is its owner's alone, whatever the umask; what others can write is told."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from spotd.cli.state_directory import make_state_directory, warn_of_others


@pytest.fixture(params=[0o000, 0o022, 0o777], ids=["000", "022", "777"])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


@pytest.mark.usefixtures("umask")
def test_every_directory_that_is_made_is_its_owners(tmp_path: Path) -> None:
    make_state_directory(tmp_path / "var" / "spotd")

    assert [0o700, 0o700] == [mode(tmp_path / "var"), mode(tmp_path / "var" / "spotd")]


@pytest.mark.usefixtures("umask")
def test_a_directory_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    """It may be a group's on purpose."""
    tmp_path.chmod(0o2770)

    make_state_directory(tmp_path)

    assert 0o2770 == mode(tmp_path)


def test_what_is_no_directory_is_a_wrong_setting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()

    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(SystemExit) as caught:
            make_state_directory(path)

        assert caught.value.code == 2
        assert f"collection.state_directory: {path}: " in capsys.readouterr().err


def told(directory: Path | None, journal: Path | None) -> list[tuple[str, str, str]]:
    with capture_logs() as logs:
        warn_of_others(directory, journal)
    assert all(line["log_level"] == "warning" for line in logs)
    return [(line["event"], line["path"], line["cure"]) for line in logs]


@pytest.mark.parametrize("permissions", [0o700, 0o750, 0o770, 0o755])
def test_nothing_is_said_where_others_cannot_write(permissions: int, tmp_path: Path) -> None:
    tmp_path.chmod(permissions)
    (tmp_path / "journal.sqlite").touch(mode=0o600)

    assert [] == told(tmp_path, tmp_path / "journal.sqlite") == told(None, None)


@pytest.mark.parametrize("permissions", [0o777, 0o1777, 0o702])
def test_a_directory_that_others_can_write_is_told_once_with_its_cure(
    permissions: int, tmp_path: Path
) -> None:
    tmp_path.chmod(permissions)

    expected = [("others can write the state directory", str(tmp_path), f"chmod o-w {tmp_path}")]
    assert expected == told(tmp_path, tmp_path / "journal.sqlite") == told(None, tmp_path / "journal.sqlite")


def test_a_journal_that_others_can_write_is_told(tmp_path: Path) -> None:
    """As an earlier release made it under a umask of 000."""
    path = tmp_path / "journal.sqlite"
    path.touch()
    path.chmod(0o666)
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "journal").symlink_to(path)

    assert [("others can write a state file", str(path), f"chmod o-w {path}")] == told(tmp_path, path)
    linked = tmp_path / "link" / "journal"
    assert [("others can write a state file", str(linked), f"chmod o-w {linked}")] == told(None, linked)
