"""The commented configuration is one that spotd takes, and its comments tell the truth."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from spotd.settings import Settings, describe_settings, load_settings
from spotd.settings.models import DEFAULT_PATTERNS

EXAMPLE = Path(__file__).parents[2] / "deploy" / "spotd.example.yml"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "netbox-token").write_text("0123456789abcdef\n", encoding="utf-8")
    return load_settings(EXAMPLE, {"CREDENTIALS_DIRECTORY": str(tmp_path)}).settings


def commented_out() -> list[tuple[str, Any]]:
    """Every key that stands behind "# ", with its group: what an operator would get by uncommenting it."""
    found, group = [], ""
    for line in EXAMPLE.read_text(encoding="utf-8").splitlines():
        if top := re.fullmatch(r"(?:# )?([a-z]+):", line):
            group = top[1]
        elif key := re.match(r"(?:  # |#   )([a-z_]+): (.+?)(?: {2,}#.*)?$", line):
            found.append((f"{group}.{key[1]}", yaml.safe_load(key[2])))
    return found


def test_spotd_takes_the_example(settings: Settings) -> None:
    assert settings.openstack.cloud == "mycloud"
    assert settings.netbox is not None
    assert settings.netbox.query == {"role": "gpu-hypervisor"}


def test_the_patterns_in_the_example_are_the_default(settings: Settings) -> None:
    assert settings.aggregates.patterns == DEFAULT_PATTERNS


def test_every_key_that_is_commented_out_exists() -> None:
    known = {setting.key for setting in describe_settings()}
    keys = [key for key, _ in commented_out()]

    assert len(keys) > 10
    assert set(keys) <= known


def test_every_number_that_is_commented_out_is_the_default() -> None:
    defaults = {setting.key: setting.default for setting in describe_settings()}
    numbers = {key: str(value) for key, value in commented_out() if isinstance(value, int)}

    assert numbers == {key: defaults[key] for key in numbers}
