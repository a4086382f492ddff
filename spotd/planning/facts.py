"""The facts that a rule's expressions may name: their types and what they mean."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

FactType = Literal["int", "double", "bool"]
FactValue = int | float

FROM, TO = "from", "to"
NAMED_POOLS = ("ondemand", "spot", "runpod")
AGED = ("netbox", "aggregates", "services", "servers", "gpus")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One name that expressions may use."""

    name: str
    type: FactType
    help: str


_SUMS: tuple[tuple[str, FactType, str], ...] = (
    ("hosts", "int", "hosts for sale, those that a move is bringing among them"),
    ("free_hosts", "int", "hosts for sale that are empty: no server and nothing allocated on them"),
    ("gpus", "int", "GPUs of the hosts for sale"),
    ("gpus_used", "int", "used GPUs of the hosts for sale"),
    ("free_gpus", "int", "GPUs that nobody holds, of each host none or more"),
    ("utilization", "double", "used GPUs by GPUs, 0.0 to 1.0; unknown where there are no GPUs"),
)
_OF = {
    FROM: "the hosts that the rule may take",
    TO: "the pool that the rule fills",
    **{pool: f"the {pool} pool" for pool in NAMED_POOLS},
}


def _all_facts() -> dict[str, Fact]:
    facts = [
        Fact(name=f"{view}.{name}", type=kind, help=f"{meaning}, over {of}")
        for view, of in _OF.items()
        for name, kind, meaning in _SUMS
    ]
    facts += [
        Fact(name="hour", type="int", help="hour of the day in the rules' time zone, 0 to 23"),
        Fact(name="weekday", type="int", help="day of the week there, 1 (Monday) to 7 (Sunday)"),
    ]
    facts += [
        Fact(name=f"age.{source}", type="double", help=f"seconds since {source} were asked")
        for source in AGED
    ]
    return {fact.name: fact for fact in facts}


FACTS: Mapping[str, Fact] = MappingProxyType(_all_facts())
"""Every fact by name; sums are of one GPU type, the one that the rule is being asked for."""
