"""Tells the event stream of moves and rules, beside the metrics."""

from spotd.moves.scribe import MoveObserver
from spotd.planning.plan import Plan
from spotd.store.records import MoveRecord
from spotd.web.events import EventHub


class MoveEvents:
    """A `MoveObserver` that passes on to another one and publishes."""

    def __init__(self, events: EventHub, observer: MoveObserver) -> None:
        self._events = events
        self._observer = observer

    def move_stepped(self, record: MoveRecord, step: str, phase: str, outcome: str, seconds: float) -> None:
        """A step ended."""
        self._observer.move_stepped(record, step, phase, outcome, seconds)
        told = {"id": record.id, "host": record.order.host, "step": step, "phase": phase, "outcome": outcome}
        self._events.publish("move", told)

    def move_ended(self, record: MoveRecord) -> None:
        """A move ended."""
        self._observer.move_ended(record)
        told = {"id": record.id, "host": record.order.host, "state": str(record.state)}
        self._events.publish("move", told)


def publish_plan(events: EventHub, plan: Plan) -> None:
    """The state of each rule and how much the plan moves."""
    events.publish(
        "rules",
        {
            "moves": len(plan.moves),
            "rules": [
                {
                    "rule": verdict.rule,
                    "gpu_type": verdict.gpu_type,
                    "condition": str(verdict.condition.when),
                    "acting": verdict.state.is_active,
                }
                for verdict in plan.verdicts
            ],
        },
    )
