"""A real Prometheus that has scraped `spotd demo` while it moved hosts, and a played daemon beside it."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
import yaml
from daemons import SPOTD
from grafana_boards import BOARDS, filled_in, variables
from played_spotd import CHANGES_EVERY_SECONDS, played_spotd
from waiting import until

SCRAPED_SECONDS = 60.0
RANGE_SECONDS = 50
STEP = "5s"

NEEDS_EVENTS: dict[tuple[str, str], str] = {
    ("customer", "Hosts gained"): "no host changes its owner in the demo",
    ("customer", "Hosts lost"): "no host changes its owner in the demo",
    ("itself", "Failed runs by reason"): "no agent of the demo fails",
    **{(board, "annotation Frozen"): "nobody freezes the demo" for board in BOARDS},
}
"""Panels and annotations that `spotd demo` leaves empty, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prometheus:
    """A Prometheus that has scraped a demo and a played daemon."""

    url: str
    demo: str
    played: str

    def get(self, path: str, **parameters: Any) -> Any:
        """What it answers; a query that it cannot read fails here."""
        answer = requests.get(f"{self.url}{path}", params=parameters, timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def series(self, expr: str, *, is_instant: bool) -> list[Any]:
        """The answer to a query as Grafana asks it."""
        now = time.time()
        if is_instant:
            found = self.get("/api/v1/query", query=expr, time=now)
        else:
            found = self.get("/api/v1/query_range", query=expr, start=now - RANGE_SECONDS, end=now, step=STEP)
        return [found["result"]] if found["resultType"] == "scalar" else list(found["result"])


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def configuration(targets: list[str]) -> str:
    """What Prometheus is told to scrape, far more often than in real life."""
    scraping = {"job_name": "spotd", "static_configs": [{"targets": targets}]}
    return yaml.safe_dump({"global": {"scrape_interval": "1s"}, "scrape_configs": [scraping]})


@contextmanager
def scraping(folder: Path) -> Iterator[Prometheus]:
    """Both daemons and Prometheus, with everything they write in `folder`."""
    demo, listening = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    with played_spotd() as played:
        (folder / "prometheus.yml").write_text(configuration([demo, played]), encoding="utf-8")
        commands = (
            [*SPOTD, "demo", "--web.listen-address", demo, "--rate", "2", "--log.level", "warning"],
            [
                *("prometheus", f"--config.file={folder / 'prometheus.yml'}"),
                *(f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={listening}"),
            ],
        )
        began = [_begin(command, folder / f"{number}.log") for number, command in enumerate(commands)]
        try:
            running = Prometheus(url=f"http://{listening}", demo=demo, played=played)
            assert SCRAPED_SECONDS > RANGE_SECONDS > CHANGES_EVERY_SECONDS
            until(
                lambda: _has_scraped(running),
                seconds=SCRAPED_SECONDS * 3,
                why="the demo moved nothing that was scraped",
            )
            yield running
        finally:
            for process in began:
                process.terminate()
                process.wait(timeout=20)


def _begin(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)


def _has_scraped(running: Prometheus) -> bool:
    """Whether both daemons have been up in enough scrapes, and the demo's last move is seen by graphs."""
    time.sleep(1)
    done = f'spotd_moves_total{{instance="{running.demo}", outcome="done"}}'
    try:
        counts = running.series("sum_over_time(up[10m])", is_instant=True)
        moved = running.series(f"sum(increase({done}[30s])) > 0", is_instant=True)
    except requests.RequestException:
        return False
    seen = {each["metric"]["instance"]: float(each["value"][1]) for each in counts}
    scraped = [seen.get(instance, 0) >= SCRAPED_SECONDS for instance in (running.demo, running.played)]
    return all(scraped) and bool(moved)


def values_of(running: Prometheus, board: str, instance: str) -> dict[str, str]:
    """What the board's variables stand for; those with a query take its first answer."""
    values = {"job": ".+", "instance": instance, "__rate_interval": "10s", "__range": f"{RANGE_SECONDS}s"}
    for name, variable in variables(board).items():
        if name in values or variable["type"] == "datasource":
            continue
        if variable["type"] == "custom":
            values[name] = str(variable["current"]["value"])
            continue
        inner, _, label = (
            variable["query"]["query"].removeprefix("label_values(").removesuffix(")").rpartition(",")
        )
        found = running.get(
            f"/api/v1/label/{filled_in(label.strip(), values)}/values",
            **{"match[]": filled_in(inner, values)},
        )
        assert found, f"variable {name} has no value"
        values[name] = found[0]
    return values
