"""The unit file is what systemd takes without a word, and leaves the daemon no more than it needs."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from openstack.config.loader import CONFIG_SEARCH_PATH

from spotd.settings import load_settings, state_directory

DEPLOY = Path(__file__).parents[2] / "deploy"
UNIT = DEPLOY / "systemd" / "spotd.service"
HIGHEST_EXPOSURE = 1.5

needs_systemd_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="systemd-analyze is not on PATH: install systemd to check the unit file",
)


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """A copy whose program exists on this machine: systemd looks for it."""
    copy = tmp_path / UNIT.name
    text, changes = re.subn(r"(?m)^(ExecStart)=\S+", r"\1=/bin/true", UNIT.read_text(encoding="utf-8"))
    assert changes == 1
    copy.write_text(text, encoding="utf-8")
    return copy


def systemd_analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", *map(str, arguments)]
    environ = {**os.environ, "LC_ALL": "C", "SYSTEMD_COLORS": "0"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environ)


def values(key: str) -> list[str]:
    return re.findall(rf"(?m)^{key}=(.*)$", UNIT.read_text(encoding="utf-8"))


@needs_systemd_analyze
def test_systemd_has_nothing_to_say_about_the_unit(unit: Path) -> None:
    done = systemd_analyze("verify", unit)

    # It warns with exit code 0.
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_systemd_analyze
def test_systemd_does_name_a_mistake_in_the_unit(unit: Path) -> None:
    text = unit.read_text(encoding="utf-8").replace("WatchdogSec=", "Watchdog=")
    unit.write_text(text, encoding="utf-8")

    assert "'Watchdog'" in systemd_analyze("verify", unit).stderr


@needs_systemd_analyze
def test_the_unit_exposes_little(unit: Path) -> None:
    done = systemd_analyze("security", "--offline=true", f"--threshold={HIGHEST_EXPOSURE * 10:.0f}", unit)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "Overall exposure level" in done.stdout


def test_systemd_252_knows_how_the_unit_starts_and_reloads() -> None:
    assert values("Type") == ["notify"]
    assert values("ExecReload") == ["/bin/sh -c 'kill -HUP $MAINPID'"]


def test_a_wrong_configuration_is_not_tried_again_and_all_else_is() -> None:
    assert values("Restart") == ["always"]
    assert values("RestartPreventExitStatus") == ["2"]
    assert values("StartLimitIntervalSec") == ["0"]


def test_the_process_metrics_keep_the_part_of_proc_that_they_read() -> None:
    assert values("ProcSubset") == []


def test_the_unit_reads_the_file_that_the_example_configuration_says_it_is() -> None:
    (command,) = values("ExecStart")
    config_file = command.rpartition(" ")[2]

    assert command == "/opt/spotd/bin/spotd run --config.file /etc/spotd/spotd.yml"
    assert config_file in (DEPLOY / "spotd.example.yml").read_text(encoding="utf-8")


def test_the_units_credentials_are_where_the_example_configuration_looks_for_them(tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    names = [value.partition(":")[0] for value in values("LoadCredential")]
    for name in names:
        (credentials / name).write_text("0123456789abcdef\n", encoding="utf-8")
    environ = dict(value.split("=", 1) for value in values("Environment"))
    clouds_file = environ["OS_CLIENT_CONFIG_FILE"].replace("%d", str(credentials))

    loaded = load_settings(DEPLOY / "spotd.example.yml", {"CREDENTIALS_DIRECTORY": str(credentials)})

    assert sorted(names) == ["clouds.yaml", "netbox-token"]
    assert Path(clouds_file).is_file()
    assert loaded.settings.netbox is not None
    assert loaded.settings.netbox.token is not None
    assert loaded.settings.netbox.token.get_secret_value() == "0123456789abcdef"


def test_a_command_at_a_shell_finds_the_state_and_the_cloud_of_the_service(tmp_path: Path) -> None:
    (name,) = values("StateDirectory")
    (tmp_path / "netbox-token").write_text("0123456789abcdef\n", encoding="utf-8")
    settings = load_settings(DEPLOY / "spotd.example.yml", {"CREDENTIALS_DIRECTORY": str(tmp_path)}).settings

    assert state_directory(settings, {}) == Path("/var/lib") / name
    assert "clouds.yaml:/etc/openstack/clouds.yaml" in values("LoadCredential")
    assert "/etc/openstack" in CONFIG_SEARCH_PATH


def test_a_user_that_nobody_knows_by_name_has_a_home() -> None:
    assert "HOME=%S/spotd" in values("Environment")
    assert "spotd" in values("StateDirectory")
