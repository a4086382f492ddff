"""Unfinished migrations, which no reading knows: asked for the hosts that a command is about."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from spotd.clouds.errors import CloudError
from spotd.fleet.live import Migration
from spotd.planning.plan import Plan
from spotd.planning.refusals import Code, Refusal
from spotd.planning.surroundings import Standing

AskMigrations = Callable[[str], tuple[Migration, ...]]


@dataclass(frozen=True, slots=True)
class Migrations:
    """What was found of the hosts that were asked about."""

    found: Mapping[str, tuple[Migration, ...]] = field(default_factory=dict)
    unknown: Mapping[str, str] = field(default_factory=dict)
    """Hosts of which they are not known, and why."""

    def on(self, standing: Standing) -> Standing:
        """The standing with what was found."""
        refusals = {
            host: Refusal(Code.MIGRATION_IN_FLIGHT, f"not finished: {'; '.join(map(in_words, migrations))}")
            for host, migrations in self.found.items()
            if migrations
        }
        return replace(standing, seen_live={**standing.seen_live, **refusals})


def ask(hosts: list[str], migrations: AskMigrations, known: Migrations) -> Migrations:
    """What is known, and what these hosts answer; after one that cannot be asked no other is."""
    found, unknown = dict(known.found), dict(known.unknown)
    for host in hosts:
        if unknown:
            unknown[host] = next(iter(unknown.values()))
            continue
        try:
            found[host] = migrations(host)
        except CloudError as error:
            unknown[host] = str(error)
    return Migrations(found, unknown)


def plan_around(
    make: Callable[[Standing], Plan], standing: Standing, migrations: AskMigrations
) -> tuple[Plan, Migrations]:
    """The plan without hosts that a migration leaves or goes to, and what was asked for it."""
    known = Migrations()
    while True:
        plan = make(known.on(standing))
        news = [
            move.host for move in plan.moves if move.host not in known.found.keys() | known.unknown.keys()
        ]
        if not news:
            return plan, known
        known = ask(news, migrations, known)


def in_words(migration: Migration) -> str:
    """One migration, for people."""
    way = f"{migration.source_host or '?'} to {migration.dest_host or '?'}"
    return f"{migration.type} of server {migration.server_id} from {way} is {migration.status}"
