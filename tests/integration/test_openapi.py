"""schemathesis asks a daemon with a journal whatever the OpenAPI document allows, and what it forbids."""

import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemons import quick_settings, running, write_clouds_file
from postgresql import started

from spotd.sim import CloudSize, EmbeddedCloud
from spotd.store.store import open_store
from spotd.web.api.auth import hash_of, new_token

EXAMPLES = 8
LIMITS = (
    "reads_per_minute",
    "writes_per_minute",
    "refreshes_per_minute",
    "failed_logins_per_minute",
)


@pytest.fixture(params=["sqlite", "postgresql"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """What one database takes, the other may not, such as a NUL in a text."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'journal.sqlite'}"
        return
    with started() as server:
        yield server.create_database("journal")


@pytest.mark.thorough
@pytest.mark.timeout(600)
def test_every_operation_keeps_its_promises(
    journal: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All checks of schemathesis, no 5xx; `/events` has no end, and its own tests."""
    token = new_token()
    api = {
        "tokens": [{"name": "a", "role": "admin", "hash": hash_of(token)}],
        "refresh_spacing_seconds": 0.05,
    }
    with EmbeddedCloud(CloudSize(hosts=30, projects=3), seed=5) as cloud:
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(write_clouds_file(cloud, tmp_path)))
        settings = quick_settings(
            cloud,
            api=api | dict.fromkeys(LIMITS, 1_000_000),
            moves={"settle_seconds": 0.1, "proof_gap_seconds": 0.1},
        )
        with open_store(journal) as store, running(settings, store=store) as face:
            face.settle()
            done = subprocess.run(
                [
                    str(Path(sysconfig.get_path("scripts")) / "schemathesis"),
                    "run",
                    f"{face.url}/api/openapi.json",
                    *("--header", f"Authorization: Bearer {token}"),
                    *("--exclude-path", "/api/events"),
                    *("--checks", "all", "--max-examples", str(EXAMPLES), "--seed", "1"),
                    *("--request-timeout", "20", "--no-color"),
                ],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=False,
            )

    assert done.returncode == 0, done.stdout[-6000:]
