"""Names of the metrics of deciding and acting, each with its help."""

from spotd.metrics.description import Description, counter, gauge, histogram

_PLAN = "Source: the last plan, made each cache.snapshot_seconds."
_JOURNAL = "Source: spotd's journal."

RULES_INFO = gauge(
    "spotd_rules_info", "The mode of the rules in force as a label, value 1. Source: rules.file.", "mode"
)
RULES_RELOAD_SUCCESSFUL = gauge(
    "spotd_rules_last_reload_successful",
    "Whether the rules were taken up at their last reading; at 0 the old ones stay. Source: rules.file.",
)
RULES_RELOAD_TIMESTAMP = gauge(
    "spotd_rules_last_reload_success_timestamp_seconds",
    "Unix time in seconds at which rules were last taken up. Source: rules.file.",
)
RULE_CONDITION = gauge(
    "spotd_rule_condition",
    f"Whether the rule's `when` holds for the GPU type, 1 or 0; absent while that is unknown. {_PLAN}",
    *("rule", "gpu_type"),
)
RULE_ACTING = gauge(
    "spotd_rule_acting",
    f"Whether the rule acts for the GPU type: its `when` held for its `for`, 1 or 0. {_PLAN}",
    *("rule", "gpu_type"),
)
RULE_PENDING = gauge(
    "spotd_rule_pending_seconds",
    f"For how long `when` has held without a break while the rule waits, in seconds; else 0. {_PLAN}",
    *("rule", "gpu_type"),
)
RULE_ERRORS = counter(
    "spotd_rule_errors_total",
    f"Plans in which an expression of the rule failed though its facts are known, once per GPU type. {_PLAN}",
    "rule",
)
PLAN_MOVES = gauge("spotd_plan_moves", f"Moves that the rule wants now. {_PLAN}", "rule")
PLAN_REFUSALS = gauge(
    "spotd_plan_refusals",
    f"Hosts that the rule could take and does not, by the code of the refusal. {_PLAN}",
    *("rule", "reason"),
)
PLAN_TIMESTAMP = gauge("spotd_plan_timestamp_seconds", f"Unix time in seconds of the last plan. {_PLAN}")
BUDGET_REMAINING = gauge(
    "spotd_budget_remaining", f"Moves of the rule that all limits together still allow now. {_PLAN}", "rule"
)
DECISIONS = counter(
    "spotd_decisions_total",
    "Decisions of the leader: moves planned and refusals whose code changed. Source: the plans.",
    *("rule", "decision", "reason"),
)
MOVES = counter(
    "spotd_moves_total",
    f"Moves that this daemon ended, by outcome; rule (manual) for people. {_JOURNAL}",
    *("rule", "origin_pool", "destination_pool", "outcome"),
)
MOVE_DURATION = histogram(
    "spotd_move_duration_seconds",
    f"From a move's beginning to its end, in seconds, all waits included. {_JOURNAL}",
    "outcome",
)
STEP_DURATION = histogram(
    "spotd_move_step_duration_seconds",
    f"How long a step of a move took, in seconds; `undo` for each step that takes back. {_JOURNAL}",
    "step",
)
MOVES_IN_PROGRESS = gauge("spotd_moves_in_progress", f"Moves that this daemon carries out now. {_JOURNAL}")
STRANDED = gauge(
    "spotd_hosts_stranded",
    f"Hosts closed by a move that could not be ended or taken back, or is not in the journal. {_JOURNAL}",
)
FROZEN = gauge(
    "spotd_frozen", f"Whether no move is begun, 1 or 0: by a person, a file or spotd itself. {_JOURNAL}"
)
FROZEN_SINCE = gauge(
    "spotd_frozen_since_timestamp_seconds",
    f"Unix time in seconds since which moves are frozen; absent while they are not. {_JOURNAL}",
)
LEADER = gauge("spotd_leader", f"Whether this daemon holds the lease and so may act, 1 or 0. {_JOURNAL}")
JOURNAL_UP = gauge(
    "spotd_journal_up",
    f"Whether the journal answered last time and is the one that was opened, 1 or 0. {_JOURNAL}",
)
CYCLES = counter(
    "spotd_rebalance_cycles_total",
    "Rebalance cycles of this daemon, by what they came to. Source: spotd itself.",
    "outcome",
)
CYCLE_DURATION = gauge(
    "spotd_rebalance_duration_seconds",
    "How long the last rebalance cycle took, in seconds, without the moves it began. Source: spotd itself.",
)

ACTING_METRICS: tuple[Description, ...] = (
    RULES_INFO,
    RULES_RELOAD_SUCCESSFUL,
    RULES_RELOAD_TIMESTAMP,
    RULE_CONDITION,
    RULE_ACTING,
    RULE_PENDING,
    RULE_ERRORS,
    PLAN_MOVES,
    PLAN_REFUSALS,
    PLAN_TIMESTAMP,
    BUDGET_REMAINING,
    DECISIONS,
    MOVES,
    MOVE_DURATION,
    STEP_DURATION,
    MOVES_IN_PROGRESS,
    STRANDED,
    FROZEN,
    FROZEN_SINCE,
    LEADER,
    JOURNAL_UP,
    CYCLES,
    CYCLE_DURATION,
)
