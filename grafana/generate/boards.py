"""Every board, under the name of its file."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from generate.customer import customer
from generate.fleet import fleet
from generate.gpu_type import gpu_type
from generate.itself import itself
from generate.rebalancing import rebalancing

DASHBOARDS = Path(__file__).parents[1] / "dashboards"

BOARDS: Mapping[str, Callable[[], Dashboard]] = {
    "fleet": fleet,
    "gpu-type": gpu_type,
    "rebalancing": rebalancing,
    "itself": itself,
    "customer": customer,
}


def text(name: str) -> str:
    """The JSON of a board as it stands in its file."""
    return json.dumps(BOARDS[name]().build(), cls=JSONEncoder, indent=2, ensure_ascii=False) + "\n"


def write_all() -> list[Path]:
    """Writes every board and returns the files."""
    made = []
    for name in BOARDS:
        path = DASHBOARDS / f"{name}.json"
        path.write_text(text(name), encoding="utf-8")
        made.append(path)
    return made
