"""The boards are what their generator makes, and keep the rules of Grafana's dashboard linter and our own."""

import re
from itertools import pairwise
from typing import Any, get_args

import pytest
import yaml
from generate.boards import BOARDS as MADE
from generate.boards import text
from generate.colours import BAD, CYCLES, GOOD, OUTCOMES, POOLS, REASONS, WARN
from generate.frame import WIDTH
from generate.rebalancing import MODES
from grafana_boards import BOARDS, GRAFANA, Asked, overrides, panels, queries, variables

from spotd.fleet.snapshot import OutOfStock, Pool
from spotd.metrics import acting_own
from spotd.metrics.names import METRICS
from spotd.planning.models import Mode

SCREEN_ROWS = 23
"""Of a screen of 1080 lines: Grafana's row is 38 pixels, and its own bars take some 150."""
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
COLOUR_WORDS = {GOOD: "green", WARN: "yellow", BAD: "red"}
RANGES = {"$__rate_interval", "$__range"}
QUERIES = list(queries())
PANELS = [(board, panel) for board in BOARDS for panel in panels(board)]
PANEL_NAMES = [f"{board}: {panel['title']}" for board, panel in PANELS]

every_board = pytest.mark.parametrize("board", BOARDS)
every_panel = pytest.mark.parametrize(("board", "panel"), PANELS, ids=PANEL_NAMES)
every_query = pytest.mark.parametrize("asked", QUERIES, ids=[asked.place for asked in QUERIES])


def threshold_colours(panel: dict[str, Any]) -> set[str]:
    """The colours that thresholds give to the panel and its columns."""
    defaults = panel["fieldConfig"]["defaults"]["thresholds"]
    given = [defaults, *(properties.get("thresholds") for _, properties in overrides(panel))]
    return {
        step["color"] for each in given if each and len(each["steps"]) > 1 for step in each["steps"]
    } & set(COLOUR_WORDS)


def test_the_files_are_the_boards_that_the_generator_knows() -> None:
    assert set(MADE) == set(BOARDS)


@every_board
def test_a_file_is_what_its_generator_makes(board: str) -> None:
    written = (GRAFANA / "dashboards" / f"{board}.json").read_text(encoding="utf-8")

    assert text(board) == written, "run `python -m generate` in grafana/"


@every_board
def test_a_board_is_found_by_its_uid_and_is_not_edited_by_hand(board: str) -> None:
    document = BOARDS[board]

    assert document["uid"] == f"spotd-{board}"
    assert document["title"].startswith("spotd / ")
    assert document["description"].endswith((".", "?"))
    assert document["editable"] is False


@every_board
def test_a_board_lets_the_data_source_the_job_and_the_instance_be_chosen(board: str) -> None:
    chosen = variables(board)

    assert list(chosen)[:3] == ["datasource", "job", "instance"]
    assert (chosen["datasource"]["type"], chosen["datasource"]["query"]) == ("datasource", "prometheus")
    assert chosen["datasource"]["label"] == "Data source"
    assert (chosen["job"]["multi"], chosen["job"]["allValue"]) == (True, ".+")
    for variable in chosen.values():
        assert variable["label"]
        assert variable["description"]
        if variable["type"] == "query":
            assert variable["datasource"] == SOURCE
            assert variable["refresh"] == 2  # when the time range changes


@pytest.mark.parametrize(
    ("board", "several"),
    [("fleet", False), ("gpu-type", False), ("customer", False), ("rebalancing", True), ("itself", True)],
)
def test_a_board_that_sums_hosts_shows_one_daemon(board: str, several: bool) -> None:
    instance = variables(board)["instance"]

    assert instance["multi"] is several
    assert instance["includeAll"] is several


@every_board
def test_boards_link_to_each_other_and_keep_time_and_choice(board: str) -> None:
    links = {link["url"].partition("?")[0]: link for link in BOARDS[board]["links"]}

    assert set(links) == {f"/d/spotd-{other}" for other in BOARDS if other != board}
    for path, link in links.items():
        other = path.removeprefix("/d/spotd-")
        kept = set(re.findall(r"\$\{(\w+):queryparam\}", link["url"]))
        all_fits = (
            variables(other)["instance"]["includeAll"] or not variables(board)["instance"]["includeAll"]
        )
        assert link["keepTime"]
        assert kept == {"datasource", "job"} | ({"instance"} if all_fits else set())


@every_board
def test_a_board_links_only_to_boards_and_variables_that_exist(board: str) -> None:
    known = {document["uid"]: name for name, document in BOARDS.items()}

    for panel in panels(board):
        for _, properties in overrides(panel):
            for link in properties.get("links", ()):
                uid = re.match(r"/d/([\w-]+)\?", link["url"])
                assert uid is not None
                assert uid[1] in known
                named = set(re.findall(r"var-(\w+)=", link["url"]))
                named |= set(re.findall(r"\$\{(\w+):queryparam\}", link["url"]))
                assert named <= set(variables(known[uid[1]]))


@every_board
def test_moves_and_freezes_are_drawn_into_the_graphs(board: str) -> None:
    annotations = BOARDS[board]["annotations"]["list"]

    assert [each["name"] for each in annotations] == ["Moves", "Frozen"]
    assert all(each["datasource"] == SOURCE for each in annotations)


@every_panel
def test_a_panel_says_what_it_is_in_which_unit_and_from_where(board: str, panel: dict[str, Any]) -> None:
    defaults = panel["fieldConfig"]["defaults"]

    assert panel["title"]
    assert panel["description"].endswith(".")
    assert defaults["unit"]
    assert panel["datasource"] == SOURCE
    assert panel["targets"]
    assert all(target["datasource"] == SOURCE for target in panel["targets"])


@every_panel
def test_a_panel_shows_unknown_as_unknown(board: str, panel: dict[str, Any]) -> None:
    assert "unknown" in panel["fieldConfig"]["defaults"]["noValue"]
    assert all("vector(" not in target["expr"] for target in panel["targets"])
    if panel["type"] != "timeseries":  # over a range, the last value would stand long after it became unknown
        assert all(target["instant"] and not target["range"] for target in panel["targets"])
    else:
        assert panel["fieldConfig"]["defaults"]["custom"]["spanNulls"] is False


@every_panel
def test_a_panel_says_what_its_colours_mean(board: str, panel: dict[str, Any]) -> None:
    described = panel["description"].lower()

    for colour in threshold_colours(panel) - {GOOD}:
        assert COLOUR_WORDS[colour] in described


@every_panel
def test_one_thing_has_one_colour_everywhere(board: str, panel: dict[str, Any]) -> None:
    known = {**POOLS, **REASONS, **OUTCOMES}
    legends = {target["legendFormat"] for target in panel["targets"]}
    fixed = {
        name: properties["color"]["fixedColor"]
        for name, properties in overrides(panel)
        if "color" in properties
    }

    # "testing" is a pool and a reason, and grey as both.
    assert {name: known[name] for name in fixed if name in known} == {
        name: colour for name, colour in fixed.items() if name in known
    }
    if panel["type"] == "timeseries" and legends & {"{{pool}}", "{{destination_pool}}"}:
        assert set(POOLS) <= set(fixed)


def test_every_pool_and_every_reason_has_a_colour() -> None:
    assert set(POOLS) == set(Pool)
    assert set(REASONS) == set(OutOfStock)
    assert not ({GOOD, WARN, BAD} & {*POOLS.values(), *REASONS.values()})
    assert len(set(POOLS.values())) == len(POOLS)


def test_every_mode_and_every_outcome_of_moves_and_cycles_has_a_colour() -> None:
    assert set(MODES) == set(get_args(Mode))
    assert set(OUTCOMES) == set(acting_own.OUTCOMES)
    assert set(CYCLES) == set(acting_own.CYCLE_OUTCOMES)


@every_board
def test_a_question_is_answered_on_one_screen(board: str) -> None:
    all_panels = BOARDS[board]["panels"]
    ends = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in all_panels)
    tops = [panel["gridPos"]["y"] for panel in all_panels if panel["type"] == "row"]

    assert tops[0] == 0
    assert all(below - above <= SCREEN_ROWS for above, below in pairwise([*tops, ends]))


@every_board
def test_panels_stand_beside_each_other(board: str) -> None:
    taken: dict[tuple[int, int], int] = {}

    for panel in BOARDS[board]["panels"]:
        position = panel["gridPos"]
        for x in range(position["x"], position["x"] + position["w"]):
            for y in range(position["y"], position["y"] + position["h"]):
                assert x < WIDTH
                assert taken.setdefault((x, y), panel["id"]) == panel["id"]


@every_board
def test_numbers_of_panels_are_given_once(board: str) -> None:
    ids = [panel["id"] for panel in BOARDS[board]["panels"]]

    assert len(set(ids)) == len(ids)


@every_query
def test_a_query_asks_the_chosen_job_and_instance(asked: Asked) -> None:
    selectors = re.findall(
        r"\b(?:spotd|process|python)_[a-z0-9_]+(\{[^}]*\})?|\bup\b(\{[^}]*\})?", asked.expr
    )

    assert selectors
    for pair in selectors:
        assert "".join(pair).startswith('{job=~"$job", instance=~"$instance"')


@every_query
def test_a_query_takes_its_range_from_the_board(asked: Asked) -> None:
    assert set(re.findall(r"\[([^\]]+)\]", asked.expr)) <= RANGES
    assert set(re.findall(r"rate\([^\]]*\[([^\]]+)\]", asked.expr)) <= {"$__rate_interval"}


@every_query
def test_a_counter_is_shown_by_its_growth(asked: Asked) -> None:
    counters = {metric.name for metric in METRICS if metric.kind == "counter"}

    for name in re.findall(r"\b\w+_total\b", asked.expr):
        assert name in counters or name.startswith("spotd_")
        assert re.search(rf"(?:rate|increase)\({name}\b", asked.expr)


def test_the_boards_are_provisioned_read_only_from_one_folder() -> None:
    document = yaml.safe_load((GRAFANA / "provisioning/dashboards/spotd.yml").read_text(encoding="utf-8"))
    (provider,) = document["providers"]

    assert (provider["type"], provider["allowUiUpdates"]) == ("file", False)
    assert provider["options"]["path"].startswith("/var/lib/grafana/")


def test_the_data_source_knows_the_scrape_interval() -> None:
    sources = yaml.safe_load((GRAFANA / "provisioning/datasources/spotd.yml").read_text(encoding="utf-8"))
    scraping = yaml.safe_load(
        (GRAFANA.parent / "deploy/prometheus/prometheus.yml").read_text(encoding="utf-8")
    )
    (source,) = sources["datasources"]

    assert source["type"] == "prometheus"
    assert source["jsonData"]["timeInterval"] == scraping["global"]["scrape_interval"]
