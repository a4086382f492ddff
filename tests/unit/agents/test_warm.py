"""The warm file comes back whole or not at all."""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fleets import NOW, FleetBuilder, default_interpretation
from hypothesis import given
from hypothesis import strategies as st
from odd_files import ODD, make_huge
from structlog.testing import capture_logs

from spotd.agents import warm
from spotd.fleet.assemble import assemble
from spotd.fleet.readings import Source

CLOUD = "lab/RegionOne"


def state(cloud: str = CLOUD, **hosts: int) -> warm.WarmState:
    fleet = FleetBuilder().host("h1", "H100-n3", servers=(2, 4), netbox="active").host("h2", "H100-n3-spot")
    return warm.WarmState(cloud=cloud, saved_at=NOW, readings=fleet.readings(), servers_position=NOW)


def load(directory: Path) -> tuple[warm.WarmState | None, list[Any]]:
    with capture_logs() as logs:
        return warm.load(directory, CLOUD, now=NOW), logs


def test_what_was_saved_comes_back_equal(tmp_path: Path) -> None:
    """Readings of all sources, their times and the position."""
    warm.save(tmp_path, state())

    found, logs = load(tmp_path)

    assert state() == found
    assert logs == []


@pytest.mark.parametrize("umask", [0o000, 0o777], ids=["000", "777"])
def test_the_file_is_its_owners_whatever_the_umask(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        warm.save(tmp_path, state())
    finally:
        os.umask(before)

    assert 0o600 == (tmp_path / warm.FILE_NAME).stat().st_mode & 0o777


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


@pytest.mark.parametrize(("make", "why"), ODD.values(), ids=ODD)
def test_what_is_no_file_is_a_cold_start_at_once(
    make: Callable[[Path], None], why: str, tmp_path: Path
) -> None:
    """Nobody waits for a FIFO, nobody reads a device."""
    make(tmp_path / warm.FILE_NAME)

    found, logs = load(tmp_path)

    assert found is None
    assert [line["reason"].lower() for line in logs] == [why]


def test_a_file_without_end_is_a_cold_start(tmp_path: Path) -> None:
    make_huge(tmp_path / warm.FILE_NAME)

    found, logs = load(tmp_path)

    assert found is None
    assert [line["reason"] for line in logs] == ["larger than 64 MiB"]


AWARE, FUTURE, FIRST_YEAR = "2029-12-31T23:00:00Z", "2030-01-01T12:02:00Z", "0001-01-01T00:00:00Z"
ABSURD_TIMES = [FUTURE, "9999-12-31T23:59:59Z", FIRST_YEAR, "1970-01-01T00:00:00Z", "2029-12-31T23:00:00"]
TIMES = {
    "saved_at": ("saved_at",),
    "position": ("servers_position",),
    "servers": ("readings", "servers", "read_at"),
    "aggregates": ("readings", "aggregates", "read_at"),
    "services": ("readings", "services", "read_at"),
    "netbox": ("readings", "netbox", "read_at"),
    "gpus": ("readings", "gpus", "read_at"),
    "all gpus": ("readings", "gpus", "value", "full_read_at"),
    "a tree": ("readings", "gpus", "value", "trees", "h1", "read_at"),
}


def changed(directory: Path, place: tuple[str, ...], value: Any) -> tuple[warm.WarmState | None, list[Any]]:
    """What is loaded of a whole file in which this one value is another."""
    warm.save(directory, state())
    path = directory / warm.FILE_NAME
    document = json.loads(path.read_bytes().partition(b"\n")[2])
    inner = document
    for key in place[:-1]:
        inner = inner[key]
    assert place[-1] in inner
    inner[place[-1]] = value
    path.write_bytes(sealed(json.dumps(document).encode()))
    return load(directory)


@pytest.mark.parametrize("moment", ABSURD_TIMES)
@pytest.mark.parametrize("place", TIMES.values(), ids=TIMES)
def test_a_time_that_cannot_be_is_a_cold_start(place: tuple[str, ...], moment: str, tmp_path: Path) -> None:
    """Of the future it would be new until then; without a zone nothing can be counted from it."""
    good, _ = changed(tmp_path, place, AWARE)
    found, logs = changed(tmp_path, place, moment)

    assert good is not None
    assert found is None
    assert [line["reason"] for line in logs] == ["of a time that cannot be"]


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (
            ("readings", "gpus", "value", "trees", "h1", "gpus", "CUSTOM_GPU_H100"),
            {"capacity": -8, "used": 0},
        ),
        (
            ("readings", "gpus", "value", "trees", "h1", "gpus", "CUSTOM_GPU_H100"),
            {"capacity": 8, "used": -1},
        ),
        (("readings", "gpus", "value", "trees", "h1", "name"), "h2"),
    ],
    ids=["capacity", "used", "name"],
)
def test_what_cannot_be_counted_is_a_cold_start(place: tuple[str, ...], value: Any, tmp_path: Path) -> None:
    found, logs = changed(tmp_path, place, value)

    assert found is None
    assert [line["reason"] for line in logs] == ["of counts or names that cannot be"]


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"cloud": "lab/RegionOne", "saved_at": 1e999}',
        b'{"cloud": "lab/RegionOne", "saved_at": ' + b"9" * 10_000 + b"}",
        b'{"cloud": "\\ud800"}',
        b"NaN",
    ],
    ids=["lists", "objects", "infinite", "long", "surrogate", "no number"],
)
def test_what_no_reading_is_like_is_a_cold_start(body: bytes, tmp_path: Path) -> None:
    (tmp_path / warm.FILE_NAME).write_bytes(sealed(body))

    found, logs = load(tmp_path)

    assert found is None
    assert [line["reason"] for line in logs] == ["of another shape"]


LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just([]), st.just({})
)


@given(data=st.data())
def test_any_changed_value_is_a_state_that_can_be_used_or_none(data: st.DataObject) -> None:
    """Whatever a file says, a start goes on from it or starts cold; nothing is raised later."""
    with tempfile.TemporaryDirectory() as name:
        warm.save(Path(name), state())
        document = json.loads((Path(name) / warm.FILE_NAME).read_bytes().partition(b"\n")[2])
        inner, place = document, []
        while isinstance(inner, dict | list) and inner:
            keys = sorted(inner) if isinstance(inner, dict) else range(len(inner))
            place.append(data.draw(st.sampled_from(list(keys))))
            holder, inner = inner, inner[place[-1]]
        holder[place[-1]] = data.draw(LEAVES)
        (Path(name) / warm.FILE_NAME).write_bytes(sealed(json.dumps(document).encode()))

        found, logs = load(Path(name))

    assert (found is None) == bool(logs)
    if found is not None:
        for source in Source:
            reading = found.readings.of(source)
            assert reading is None or reading.age_seconds(NOW) >= 0
        assemble(found.readings, default_interpretation(), NOW)


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
