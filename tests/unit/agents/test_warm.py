"""The warm file comes back whole or not at all."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from fleets import NOW, FleetBuilder
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from spotd.agents import warm
from spotd.fleet.readings import Source

CLOUD = "lab/RegionOne"


def state(cloud: str = CLOUD, **hosts: int) -> warm.WarmState:
    fleet = FleetBuilder().host("h1", "H100-n3", servers=(2, 4), netbox="active").host("h2", "H100-n3-spot")
    return warm.WarmState(cloud=cloud, saved_at=NOW, readings=fleet.readings(), servers_position=NOW)


def load(directory: Path) -> tuple[warm.WarmState | None, list[Any]]:
    with capture_logs() as logs:
        return warm.load(directory, CLOUD), logs


def test_what_was_saved_comes_back_equal(tmp_path: Path) -> None:
    """Readings of all sources, their times and the position."""
    warm.save(tmp_path, state())

    found, logs = load(tmp_path)

    assert state() == found
    assert logs == []


def test_absent_readings_stay_absent(tmp_path: Path) -> None:
    """Unknown does not turn into empty."""
    readings = FleetBuilder().host("h1").without(Source.SERVERS, Source.NETBOX).readings()
    warm.save(tmp_path, warm.WarmState(cloud=CLOUD, saved_at=NOW, readings=readings, servers_position=None))

    found, _ = load(tmp_path)

    assert found is not None
    assert (found.readings.servers, found.readings.netbox, found.servers_position) == (None, None, None)


def test_without_a_file_a_start_is_cold_and_says_nothing(tmp_path: Path) -> None:
    """The first start ever."""
    assert load(tmp_path) == (None, [])
    assert load(tmp_path / "absent") == (None, [])


def damaged(content: bytes) -> dict[str, bytes]:
    header, _, body = content.partition(b"\n")
    other = json.loads(body) | {"readings": {"netbox": 7}}
    return {
        "empty": b"",
        "cut-short": content[: len(content) // 2],
        "header-only": header,
        "other-release": content.replace(b"spotd-readings-1", b"spotd-readings-2", 1),
        "more-behind": content + b" ",
        "not-ours": b"\x00\xff" * 100,
        "other-shape": sealed(json.dumps(other).encode()),
        "no-object": sealed(b"[]"),
    }


def sealed(body: bytes) -> bytes:
    return b" ".join((warm.HEADER, warm.hashlib.sha256(body).hexdigest().encode())) + b"\n" + body


@pytest.mark.parametrize(
    "damage",
    [
        "empty",
        "cut-short",
        "header-only",
        "other-release",
        "more-behind",
        "not-ours",
        "other-shape",
        "no-object",
    ],
)
def test_a_damaged_file_is_a_cold_start_with_one_line_in_the_log(tmp_path: Path, damage: str) -> None:
    """Never an exception, never half of the readings."""
    warm.save(tmp_path, state())
    path = tmp_path / warm.FILE_NAME
    path.write_bytes(damaged(path.read_bytes())[damage])

    found, logs = load(tmp_path)

    assert found is None
    assert [line["event"] for line in logs] == ["stored readings ignored, starting cold"]


def test_a_file_of_another_cloud_is_ignored(tmp_path: Path) -> None:
    """One line says so."""
    warm.save(tmp_path, state(cloud="other/RegionOne"))

    found, logs = load(tmp_path)

    assert found is None
    assert [line["reason"] for line in logs] == ["of another cloud"]


def test_a_file_that_cannot_be_read_is_a_cold_start(tmp_path: Path) -> None:
    """Here a directory stands in its place."""
    (tmp_path / warm.FILE_NAME).mkdir()

    found, logs = load(tmp_path)

    assert found is None
    assert len(logs) == 1


def test_a_save_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a full disk does."""
    warm.save(tmp_path, state())
    before = (tmp_path / warm.FILE_NAME).read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        warm.save(tmp_path, state(cloud="newer"))

    assert before == (tmp_path / warm.FILE_NAME).read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == [warm.FILE_NAME]


def test_a_directory_that_is_not_there_is_an_error_for_the_caller(tmp_path: Path) -> None:
    """The daemon turns it into a log line."""
    with pytest.raises(OSError, match="No such file"):
        warm.save(tmp_path / "absent", state())


@given(position=st.integers(min_value=0), flip=st.integers(min_value=1, max_value=255))
def test_any_changed_byte_is_noticed(position: int, flip: int) -> None:
    """Wherever it is."""
    with tempfile.TemporaryDirectory() as name:
        warm.save(Path(name), state())
        path = Path(name) / warm.FILE_NAME
        content = bytearray(path.read_bytes())
        content[position % len(content)] ^= flip
        path.write_bytes(content)

        found, logs = load(Path(name))

    assert found is None
    assert len(logs) == 1
