"""Each board, drawn with Grafana's own libraries from a Prometheus that scraped `spotd demo`, light and dark.

`SPOTD_TEST_RENDER` names a program `render OUT_DIR DASHBOARD.json...` that draws each into OUT_DIR/NAME.png
and tells in OUT_DIR/NAME.report.json how many panels it drew and its `problems`: queries that failed or
brought nothing, panels that it could not draw. Its environment has PROM, FROM (seconds back), THEME and VARS.
"""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import Any

import pytest
from alerting import free_port
from grafana_boards import BOARDS, GRAFANA, panels
from PIL import Image
from scraped import NEEDS_EVENTS, SCRAPED_SECONDS, Prometheus

RENDER = "SPOTD_TEST_RENDER"
THEMES = ("light", "dark")
COLUMN, ROW, HEAD, GAP = 1600 / 24, 38, 44, 8
"""Pixels of the grid, and of what stands above it and between panels."""
TITLE = 40
"""Height of a panel's title bar."""
INK = 60
"""Pixels that differ from the background in a panel that shows a word."""

pytestmark = [
    pytest.mark.lab,
    pytest.mark.thorough,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not os.environ.get(RENDER), reason=f"set {RENDER} to a program that draws boards, to look at pictures"
    ),
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not on PATH"),
]


@dataclass(frozen=True)
class Drawn:
    """One board in one theme."""

    picture: Image.Image
    report: dict[str, Any]

    def inside(self, panel: dict[str, Any]) -> Image.Image:
        """The panel without its title and border."""
        at = panel["gridPos"]
        left, top = at["x"] * COLUMN, HEAD + at["y"] * ROW
        right, bottom = left + at["w"] * COLUMN, top + at["h"] * ROW
        return self.picture.crop(
            (int(left) + GAP, int(top) + TITLE, int(right) - 2 * GAP, int(bottom) - 2 * GAP)
        )


@pytest.fixture(scope="module", params=THEMES)
def drawn(
    request: pytest.FixtureRequest, prometheus: Prometheus, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, dict[str, Drawn]]:
    folder = tmp_path_factory.mktemp(request.param)
    environ = os.environ | {
        "PROM": prometheus.url,
        "FROM": str(int(SCRAPED_SECONDS)),
        "THEME": request.param,
        "VARS": f"var-job=spotd&var-instance={prometheus.demo}",
        "PORT": str(free_port()),
    }
    boards = [str(GRAFANA / "dashboards" / f"{board}.json") for board in BOARDS]
    done = subprocess.run(
        [os.environ[RENDER], str(folder), *boards],
        env=environ,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    pictures = {}
    for board in BOARDS:
        picture = folder / f"{board}.png"
        assert picture.exists(), f"left with {done.returncode}: {done.stdout}{done.stderr}"
        report = json.loads((folder / f"{board}.report.json").read_text("utf-8"))
        pictures[board] = Drawn(Image.open(picture).convert("RGB"), report)
    return request.param, pictures


def ink(picture: Image.Image) -> int:
    """Pixels that are not of the picture's most frequent colour."""
    colours = picture.getcolors(maxcolors=picture.width * picture.height)
    assert colours
    return picture.width * picture.height - max(count for count, _ in colours)


@pytest.mark.parametrize("board", BOARDS)
def test_no_panel_is_without_the_data_that_the_demo_has(
    board: str, drawn: tuple[str, dict[str, Drawn]]
) -> None:
    report = drawn[1][board].report
    may_be_empty = [title for name, title in NEEDS_EVENTS if name == board]

    found = [
        problem
        for problem in report["problems"]
        if not any(f'"{title}": query ' in problem and " is empty: " in problem for title in may_be_empty)
    ]

    assert found == []
    assert report["panels"] == len(BOARDS[board]["panels"])


@pytest.mark.parametrize("board", BOARDS)
def test_no_panel_is_blank(board: str, drawn: tuple[str, dict[str, Drawn]]) -> None:
    seen = {panel["title"]: ink(drawn[1][board].inside(panel)) for panel in panels(board)}

    assert {title: pixels for title, pixels in seen.items() if pixels < INK} == {}


@pytest.mark.parametrize("board", BOARDS)
def test_a_board_is_drawn_in_its_theme_and_at_its_whole_length(
    board: str, drawn: tuple[str, dict[str, Drawn]]
) -> None:
    theme, pictures = drawn
    picture = pictures[board].picture
    lowest = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels(board))

    assert picture.height >= HEAD + lowest * ROW
    background = picture.getpixel((2, picture.height - 2))
    assert isinstance(background, tuple)
    assert (sum(background) > 600) is (theme == "light")
