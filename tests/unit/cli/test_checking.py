"""`check-config` proves what `run` needs, with the same words, and connects to nothing."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from openstack.config import loader

from spotd.cli import main

AUTH = {"auth_url": "http://127.0.0.1:9/v3", "username": "ada", "password": "hunter2-swordfish"}
WITHOUT_REDIS = "import sys; sys.modules['redis'] = None; from spotd.cli import main; main(prog_name='spotd')"


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("OS_", "SPOTD_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(loader, "CONFIG_FILES", [])
    monkeypatch.setattr(loader, "SECURE_FILES", [])


@pytest.fixture
def clouds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "clouds.yaml"
    path.write_text(yaml.safe_dump({"clouds": {"north": {"auth": AUTH}, "south": {"auth": AUTH}}}))
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(path))
    return path


def write(directory: Path, **groups: Any) -> Path:
    path = directory / "spotd.yml"
    path.touch(mode=0o600)
    path.write_text(json.dumps(groups))  # JSON is YAML
    return path


def checked(path: Path) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["check-config", str(path)])
    return done.exit_code, done.output


def run(path: Path) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["run", "--config.file", str(path)])
    # The SDK's own warnings are lines of the log.
    said = [line for line in done.output.splitlines(keepends=True) if line.startswith("spotd: ")]
    return done.exit_code, "".join(said)


NORTH = {"openstack": {"cloud": "north"}}
PROBLEMS: Mapping[str, tuple[dict[str, Any], str]] = {
    "no-cloud": ({}, "has several clouds and none is named, here or by OS_CLOUD: choose one of north, south"),
    "cloud": ({"openstack": {"cloud": "west"}}, "no cloud named 'west' in clouds.yaml; it has: north, south"),
    "netbox-ca": (
        NORTH | {"netbox": {"url": "https://n", "token": "abc", "verify_tls": "/gone.pem"}},
        "netbox.verify_tls: /gone.pem cannot be read: no such file or directory",
    ),
    "redis-option": (
        NORTH | {"cache": {"backend": "redis", "redis_url": "redis://h?hunter2-swordfish=1"}},
        "cache.redis_url: the package redis cannot use it (TypeError): look behind its ?",
    ),
    "journal-option": (
        NORTH | {"journal": {"url": "postgresql://ada@127.0.0.1:1/spotd?hunter2-swordfish=1"}},
        "its URL has an option behind the ? that libpq does not know",
    ),
    "rules": (
        NORTH | {"rules": {"file": "/gone.yml"}, "collection": {"state_directory": "STATE"}},
        "/gone.yml: cannot be read: no such file or directory",
    ),
    "web": (NORTH | {"web": {"config_file": "/gone.yml"}}, "/gone.yml: cannot be read: no such file"),
}


@pytest.mark.parametrize(("groups", "sentence"), PROBLEMS.values(), ids=list(PROBLEMS))
@pytest.mark.usefixtures("clouds")
def test_it_says_what_run_says(groups: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    groups = json.loads(json.dumps(groups).replace("STATE", str(tmp_path / "state")))
    path = write(tmp_path, **groups)

    told = checked(path)

    assert told == run(path)
    assert told[0] == 2
    assert sentence in told[1]
    assert "hunter2" not in told[1]


@pytest.mark.usefixtures("clouds")
def test_every_problem_is_told(tmp_path: Path) -> None:
    groups = {
        "openstack": {"cloud": "west"},
        "web": {"config_file": "/gone.yml"},
        "rules": {"file": "/gone.yml"},
    }

    code, told = checked(write(tmp_path, **groups))

    assert (code, len(told.splitlines())) == (2, 3)


def test_a_machine_without_a_cloud_can_check_the_rest(tmp_path: Path) -> None:
    """Where configurations are reviewed there is no clouds.yaml."""
    path = write(tmp_path, **NORTH)

    code, told = checked(path)

    assert code == 0
    assert told.endswith(f"{path}: good\n")
    assert "warning: openstack: the cloud is not checked" in told


@pytest.mark.usefixtures("clouds")
def test_redis_without_its_package_names_the_extra(tmp_path: Path) -> None:
    path = write(tmp_path, **NORTH, cache={"backend": "redis", "redis_url": "redis://127.0.0.1:1"})

    for arguments in (["check-config", str(path)], ["collect", "--config.file", str(path)]):
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_REDIS, *arguments], capture_output=True, text=True, check=False
        )

        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == (
            "spotd: cache.backend: redis needs the package redis: install spotd with its extra `redis`\n"
        )
