"""`spotd check-rules`, `spotd plan` and `spotd explain`: what the rules say, without doing any of it."""

import json
import sys
from pathlib import Path

import click

from spotd.cli.explaining import print_explanation
from spotd.cli.migrations import Migrations, ask, plan_around
from spotd.cli.options import (
    EXIT_FAILED,
    EXIT_USAGE,
    Command,
    config_option,
    fail,
    log_options,
    read_settings,
    start_logging,
)
from spotd.cli.past import Past, past_of
from spotd.cli.planning import looking, plan_now, print_plan
from spotd.cli.printing import say
from spotd.planning.load import load_rules, rules_schema
from spotd.planning.rules import Rules
from spotd.planning.search import search
from spotd.settings import ConfigurationError, Settings


def rules_option(command: Command) -> Command:
    """`--rules.file`."""
    return click.option(
        "--rules.file",
        "rules_file",
        type=click.Path(path_type=Path),
        help="YAML rules; default: rules.file of the configuration.",
    )(command)


def read_rules(path: Path) -> Rules:
    """The rules, or an exit with code 2 and every mistake, a line each."""
    try:
        return load_rules(path)
    except ConfigurationError as error:
        fail(str(error), EXIT_USAGE)


def rules_of(settings: Settings, given: Path | None) -> Rules:
    """The rules that are given, else those that the configuration names; with neither, exit code 2."""
    path = given or settings.rules.file
    if path is None:
        fail("no rules: name a file by --rules.file, or by rules.file in the configuration", EXIT_USAGE)
    return read_rules(path)


@click.command("check-rules")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--schema", is_flag=True, help="Print the JSON schema of rules files and leave.")
@click.option("--no-search", is_flag=True, help="Only read the file; do not try the rules on small fleets.")
def check_rules(file: Path | None, *, schema: bool, no_search: bool) -> None:
    """Check a rules FILE: every mistake with its line, and rules that never fire, fight or swing hosts.

    Exit codes: 0 good, 1 the search found something, 2 the file is refused.
    """
    if schema:
        click.echo(json.dumps(rules_schema(), indent=2))
        return
    if file is None:
        raise click.UsageError("Missing argument 'FILE'.")
    rules = read_rules(file)
    findings = () if no_search else search(rules)
    for finding in findings:
        say(f"{file}: {finding.kind}: {', '.join(finding.rules)}: {finding.sentence}")
        for line in finding.example:
            say(f"    {line}")
    if findings:
        sys.exit(EXIT_FAILED)
    say(f"{file}: good, {len(rules.rules)} rules, mode {rules.mode}")


@click.command()
@config_option
@rules_option
@click.option("--format", "output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--as-if-held", is_flag=True, help="Take every rule's `for` as over; one look knows no past.")
@log_options
def plan(  # noqa: PLR0917 - one argument for each flag
    config_file: Path | None,
    rules_file: Path | None,
    output: str,
    as_if_held: bool,  # noqa: FBT001 - click hands flags in by name
    log_level: str | None,
    log_format: str | None,
) -> None:
    """Collect once and show what the rules would do now: what, why, and each refusal. Moves nothing."""
    loaded = read_settings(config_file)
    rules = rules_of(loaded.settings, rules_file)
    start_logging(loaded.settings, log_level, log_format, quiet=True)
    with looking(loaded.settings) as look:
        past = past_of(loaded.settings, rules, look.now)
        made, migrations = plan_around(
            lambda standing: plan_now(rules, look, past, standing=standing, as_if_held=as_if_held),
            past.standing,
            look.migrations,
        )
    print_plan(made, migrations, as_json=output == "json")
    _leave(look.failures, past)


@click.command()
@click.argument("host")
@config_option
@rules_option
@click.option("--format", "output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@log_options
def explain(  # noqa: PLR0917 - one argument for each flag
    host: str,
    config_file: Path | None,
    rules_file: Path | None,
    output: str,
    log_level: str | None,
    log_format: str | None,
) -> None:
    """Collect once and show all that is known of HOST, who said it and when, and what each rule thinks."""
    loaded = read_settings(config_file)
    rules = rules_of(loaded.settings, rules_file)
    start_logging(loaded.settings, log_level, log_format, quiet=True)
    with looking(loaded.settings) as look:
        found = look.snapshot.hosts.get(host)
        past = past_of(loaded.settings, rules, look.now, host=host)
        if found is None:
            _leave(look.failures, past)
            fail(f"no GPU host {host!r}", EXIT_FAILED)
        migrations = ask([host], look.migrations, Migrations())
    print_explanation(found, rules, look, past, migrations, as_json=output == "json")
    _leave(look.failures, past)


def _leave(failures: dict[str, str], past: Past) -> None:
    """Exit code 1 where an agent failed, or a journal that is there and cannot be read."""
    lines = [f"{agent} failed: {why}" for agent, why in sorted(failures.items())]
    if past.failure is not None:
        lines.append(f"earlier moves and freezes are not known: {past.failure}")
    if lines:
        fail("\n".join(lines), EXIT_FAILED)
