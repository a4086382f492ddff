"""`spotd token create`."""

import re

import yaml
from click.testing import CliRunner

from spotd.cli import main
from spotd.logs import mask_text
from spotd.settings.api import ApiSettings
from spotd.web.api.auth import hash_of


def test_prints_a_token_and_a_line_for_the_configuration_that_fits_it() -> None:
    done = CliRunner().invoke(main, ["token", "create", "--name", "ci: a", "--role", "operator"])

    token = done.stdout.strip()
    line = done.stderr.splitlines()[-1]
    settings = ApiSettings.model_validate({"tokens": yaml.safe_load(line)})
    assert settings.tokens[0].hash.get_secret_value() == hash_of(token)
    assert (settings.tokens[0].name, settings.tokens[0].role) == ("ci: a", "operator")


def test_no_two_tokens_are_alike_and_none_reaches_a_log() -> None:
    tokens = {
        CliRunner().invoke(main, ["token", "create", "--name", "a", "--role", "viewer"]).stdout.strip()
        for _ in range(3)
    }

    assert len(tokens) == 3
    assert all(re.fullmatch(r"sptd_[A-Za-z0-9_-]{43}", token) for token in tokens)
    assert not [token for token in tokens if token in mask_text(f"sent {token} there")]
