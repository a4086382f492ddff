"""The README says what the code does."""

import re
from pathlib import Path

from spotd.metrics.names import METRICS
from spotd.planning.refusals import Code
from spotd.settings import settings_table_markdown

README = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")


def test_the_readme_lists_every_setting_as_the_code_has_it() -> None:
    table = README.partition("<!-- settings -->")[2].partition("<!-- /settings -->")[0]

    assert table.strip() == settings_table_markdown().strip()


def test_every_metric_that_the_readme_names_exists() -> None:
    named = set(re.findall(r"\bspotd_[a-z_]+", README))

    assert named <= {metric.name for metric in METRICS}


def test_the_readme_lists_every_code_of_a_refusal_once() -> None:
    listed = README.partition("<!-- codes -->")[2].partition("<!-- /codes -->")[0]

    assert sorted(re.findall(r"`([a-z_]+)`", listed)) == sorted(Code)
