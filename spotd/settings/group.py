"""What every group of settings has in common."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from spotd.settings import checks

Secret = Annotated[SecretStr, AfterValidator(checks.is_one_word)]
# A year is the bound that catches milliseconds given as seconds.
Seconds = Annotated[float, checks.NOT_A_BOOLEAN, Field(gt=0, le=31_536_000, allow_inf_nan=False)]
Count = Annotated[int, checks.NOT_A_BOOLEAN, Field(ge=0, le=1024)]


class Group(BaseModel):
    """Base of every group of settings: unknown keys are refused, values do not change once read."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        # The docstring under a setting is its description in the README, the JSON schema and `/api`.
        use_attribute_docstrings=True,
    )
