"""What is known of a host, who said it and how old it is, and what each rule thinks."""

from datetime import timedelta

from fleets import NOW, FleetBuilder

from spotd.fleet.readings import Source
from spotd.planning.explain import Explanation, explain
from spotd.planning.load import parse_rules
from spotd.planning.planner import make_plan
from spotd.planning.refusals import Code
from spotd.planning.surroundings import Standing, survey

RULES = parse_rules(
    "rules:\n"
    "- {name: lend, from: [ondemand], to: spot, when: from.free_hosts > 0}\n"
    "- {name: back, from: [spot], to: ondemand, when: to.free_hosts < 1}\n"
)


def explained(builder: FleetBuilder, host: str, standing: Standing | None = None) -> Explanation:
    snapshot, standing = builder.aggregate("H100-n3-spot").snapshot(), standing or Standing()
    plan = make_plan(RULES, snapshot, (), NOW, {}, standing=standing)
    return explain(snapshot.hosts[host], plan, survey(RULES, snapshot, (), NOW, standing))


def test_each_fact_has_its_source_and_age() -> None:
    asked = NOW - timedelta(seconds=40)
    builder = FleetBuilder().host("h1", "H100-n3", netbox="active").read(Source.GPUS, asked)

    facts = {fact.name: fact for fact in explained(builder, "h1").facts}

    assert (facts["gpus"].value, facts["gpus"].source, facts["gpus"].age_seconds) == (8, Source.GPUS, 40)
    assert (facts["netbox_status"].value, facts["netbox_status"].source) == ("active", Source.NETBOX)
    assert (facts["nvlink"].value, facts["nvlink"].source, facts["nvlink"].age_seconds) == (None, None, None)


def test_each_rule_says_what_it_thinks() -> None:
    builder = FleetBuilder().unconfigured(Source.NETBOX).host("h1", "H100-n3").host("h2", "H100-n3")

    lend, back = explained(builder, "h1").thoughts

    assert (lend.rule, lend.moves_to, lend.refusal) == ("lend", "H100-n3-spot", None)
    assert lend.verdict is not None
    assert lend.verdict.facts == {"from.free_hosts": 2}
    assert back.refusal is not None
    assert (back.refusal.code, back.verdict) == (Code.OUT_OF_SCOPE, None)


def test_every_guard_that_keeps_it_is_told_not_only_the_first() -> None:
    builder = FleetBuilder().host("h1", "H100-n3", status="disabled", state="down", used=3, netbox="failed")

    explanation = explained(builder, "h1", Standing(frozen="drill"))

    assert [refusal.code for refusal in explanation.standing] == [
        Code.FROZEN,
        Code.SOURCES_DISAGREE,
        Code.SERVICE_DISABLED,
        Code.SERVICE_DOWN,
        Code.NETBOX_STATUS,
    ]
    assert explanation.contradictions == ("Placement has 3 GPUs allocated, the servers' flavors ask for 0",)
