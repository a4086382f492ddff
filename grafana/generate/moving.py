"""What was moved, and how long it took."""

from generate.colours import CALM, MUTED, OUTCOMES, POOLS, named
from generate.frame import Placed, Question
from generate.panels import Column, Meaning, bars, graph, rows
from generate.queries import Query, in_range, increase, max_by, of, quantile, sum_by

OUTCOME_WORDS = named(OUTCOMES)
POOL_WORDS = named(POOLS)


def moves() -> Question:
    """Which moves ended, and how."""
    each = "rule, origin_pool, destination_pool, outcome"
    outcomes = graph(
        Meaning(
            title="Moves by outcome",
            description="Moves that ended, in each step of the graph. Green: done. Yellow: failed and taken"
            " back. Red: stranded. Grey: refused by a guard at the last moment.",
        ),
        Query(sum_by("outcome", increase("spotd_moves_total")), "{{outcome}}"),
        colours=OUTCOMES,
        counts=True,
    )
    pools = graph(
        Meaning(
            title="Moves by destination",
            description="Moves that were done, by the pool that gained the host.",
        ),
        Query(
            sum_by("destination_pool", increase("spotd_moves_total", 'outcome="done"')),
            "{{destination_pool}}",
        ),
        colours=POOLS,
        counts=True,
    )
    table = rows(
        Meaning(
            title="Moves in this time",
            empty="none, or unknown",
            description="Moves that ended in the time shown. Green: done. Yellow: undone. Red: stranded."
            " Numbers are extrapolated by Prometheus; the journal has them exactly.",
        ),
        (
            Column(field="rule", title="Rule"),
            Column(field="origin_pool", title="Origin", width=95, words=POOL_WORDS),
            Column(field="destination_pool", title="Destination", width=105, words=POOL_WORDS),
            Column(field="outcome", title="Outcome", width=85, words=OUTCOME_WORDS),
            Column(field="Value", title="Moves", width=65, decimals=0),
        ),
        Query(f"{sum_by(each, in_range('spotd_moves_total'))} > 0"),
        sort_by="Moves",
    )
    return Question(
        asks="What was moved?",
        panels=(
            Placed(panel=outcomes, width=7, height=9),
            Placed(panel=pools, width=7, height=9),
            Placed(panel=table, width=10, height=9),
        ),
    )


def durations() -> Question:
    """Of moves, of their steps, and of the cycles that make them."""
    moves = graph(
        Meaning(
            title="Duration of moves, 95 %",
            description="95 % of the moves that ended took at most so long, by outcome. Gaps: no move ended."
            " Dots: single moves with their ids, where Prometheus keeps exemplars.",
            unit="s",
        ),
        Query(quantile(0.95, "outcome", "spotd_move_duration_seconds"), "{{outcome}}", exemplars=True),
        colours=OUTCOMES,
    )
    steps = bars(
        Meaning(
            title="Mean duration of steps",
            description="Of the steps that ended in the time shown. Draining waits for customers and is the"
            " longest.",
            unit="s",
        ),
        "step",
        Query(
            f"{sum_by('step', in_range('spotd_move_step_duration_seconds_sum'))}"
            f" / ({sum_by('step', in_range('spotd_move_step_duration_seconds_count'))} > 0)",
        ),
        heading="Step",
        value="Mean",
    )
    cycle = graph(
        Meaning(
            title="Duration of the last cycle",
            description="Comparing the rules with the fleet and carrying out the plan.",
            unit="s",
        ),
        Query(max_by("instance", of("spotd_rebalance_duration_seconds")), "{{instance}}"),
    )
    decisions = graph(
        Meaning(
            title="Decisions",
            description="Decisions to move a host, and refusals when they change, in each step.",
        ),
        Query(sum_by("decision", increase("spotd_decisions_total")), "{{decision}}"),
        colours={"move": CALM, "refuse": MUTED},
        counts=True,
    )
    return Question(
        asks="How long does it take?",
        panels=tuple(Placed(panel=panel, width=6, height=11) for panel in (moves, steps, cycle, decisions)),
    )
