"""Writes prometheusrule.yaml from ../prometheus/rules; a test holds the two together."""  # noqa: INP001 - a file to run

from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
RULES = HERE.parent / "prometheus" / "rules"
TARGET = HERE / "prometheusrule.yaml"
HEAD = "# Made by generate.py from ../prometheus/rules: change those.\n"


def prometheus_rule() -> dict[str, Any]:
    """The PrometheusRule that holds every group; recording rules first, since alerts read them."""
    groups: list[Any] = []
    for path in sorted(RULES.glob("*.yml"), reverse=True):
        groups += yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "spotd"},
        "spec": {"groups": groups},
    }


def document() -> str:
    """What the file must hold."""
    return HEAD + yaml.safe_dump(prometheus_rule(), sort_keys=False, width=110)


if __name__ == "__main__":
    TARGET.write_text(document(), encoding="utf-8")
