"""Configuration: one YAML file, the environment, and secrets, checked as a whole before anything starts.

Values only; nothing here calls out. Secrets are `SecretStr` and never leave in `repr`, errors or logs.
"""

from spotd.settings.models import Settings

__all__ = ["Settings"]
