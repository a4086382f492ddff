"""Configuration: one YAML file, the environment, and secrets, checked as a whole before anything starts.

Values only; nothing here calls out. Secrets are `SecretStr` and never leave in `repr`, errors or logs.
"""

from spotd.settings.description import (
    describe_settings,
    public_settings,
    secret_values,
    settings_table_markdown,
)
from spotd.settings.journal import journal_url
from spotd.settings.load import LoadedSettings, load_settings, state_directory
from spotd.settings.models import Settings
from spotd.settings.problems import ConfigurationError, Problem
from spotd.settings.reload import changed_keys, needs_restart

__all__ = [
    "ConfigurationError",
    "LoadedSettings",
    "Problem",
    "Settings",
    "changed_keys",
    "describe_settings",
    "journal_url",
    "load_settings",
    "needs_restart",
    "public_settings",
    "secret_values",
    "settings_table_markdown",
    "state_directory",
]
