"""Every command of `spotd`."""

import os
from pathlib import Path

import click

from spotd import __version__
from spotd.cli.collecting import print_collection
from spotd.cli.journal import freeze, journal, unfreeze
from spotd.cli.moving import move, recover
from spotd.cli.options import (
    EXIT_USAGE,
    config_option,
    fail,
    load_again,
    log_options,
    read_settings,
    start_logging,
)
from spotd.cli.printing import say
from spotd.cli.rules import check_rules, explain, plan
from spotd.cli.serving import run_demo, run_until_signalled
from spotd.cli.tokens import token
from spotd.metrics.names import METRICS
from spotd.settings import state_directory
from spotd.web.config.file import WebConfigError
from spotd.web.config.file import load as load_web_config


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "--version", prog_name="spotd")
def main() -> None:
    """Watch the GPU hosts of one OpenStack region.

    \b
    Try it without a cloud:      spotd demo
    See your cloud once:         OS_CLOUD=mycloud spotd collect
    Check rights and versions:   OS_CLOUD=mycloud spotd preflight
    Run the daemon:              spotd run --config.file spotd.yml

    The cloud and its credentials come from clouds.yaml (openstack.cloud or OS_CLOUD) or from OS_* variables.
    Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.
    """  # noqa: D301 - click wants the character itself


@main.command()
@config_option
@click.option("--web.listen-address", "listen_address", help="HOST:PORT; default 127.0.0.1:8080.")
@click.option(
    "--rules.file", "rules_file", help="YAML rules; without them nothing moves but what you ask for."
)
@click.option(
    "--web.config.file",
    "web_config_file",
    type=click.Path(path_type=Path),
    help="TLS, basic authentication, headers, rate limit; in the exporter-toolkit's format.",
)
@log_options
def run(  # noqa: PLR0917 - one argument for each flag
    config_file: Path | None,
    listen_address: str | None,
    rules_file: str | None,
    web_config_file: Path | None,
    log_level: str | None,
    log_format: str | None,
) -> None:
    """Run the daemon: collect, answer on /metrics, move hosts by the rules, until SIGTERM.

    Without a state directory (or journal.url) there is no journal, and it only looks on.

    SIGHUP reads the configuration again; a bad one is refused and the old one kept.
    """
    if listen_address is not None:
        os.environ["SPOTD_WEB__LISTEN_ADDRESS"] = listen_address
    if rules_file is not None:
        os.environ["SPOTD_RULES__FILE"] = rules_file
    if web_config_file is not None:
        os.environ["SPOTD_WEB__CONFIG_FILE"] = str(web_config_file)
    loaded = read_settings(config_file)
    start_logging(loaded.settings, log_level, log_format)
    run_until_signalled(
        loaded.settings,
        load=lambda: load_again(config_file),
        on_reload=lambda settings: start_logging(settings, log_level, log_format),
        directory=state_directory(loaded.settings, os.environ),
    )


@main.command()
@click.option(
    "--hosts", type=click.IntRange(10, 2000), default=120, show_default=True, help="GPU hosts in the cloud."
)
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed makes the same cloud.")
@click.option(
    "--rate",
    type=click.FloatRange(0, 100),
    default=0.5,
    show_default=True,
    help="Servers that come or go, per s.",
)
@click.option(
    "--web.listen-address", "listen_address", default="127.0.0.1:8080", show_default=True, help="HOST:PORT."
)
@click.option(
    "--for", "seconds", type=click.FloatRange(min=0), help="Leave after so many seconds; default: at Ctrl-C."
)
@log_options
def demo(  # noqa: PLR0917 - one argument for each flag
    hosts: int,
    seed: int,
    rate: float,
    listen_address: str,
    seconds: float | None,
    log_level: str | None,
    log_format: str | None,
) -> None:
    """Run the daemon on an embedded cloud, with servers that come and go; needs nothing else."""
    run_demo(
        hosts=hosts,
        seed=seed,
        rate=rate,
        listen_address=listen_address,
        seconds=seconds,
        log_level=log_level,
        log_format=log_format,
    )


@main.command()
@config_option
@click.option("--format", "output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@log_options
def collect(config_file: Path | None, output: str, log_level: str | None, log_format: str | None) -> None:
    """Collect once and show the fleet: per GPU type and pool, or every host as JSON."""
    loaded = read_settings(config_file)
    start_logging(loaded.settings, log_level, log_format, quiet=True)
    print_collection(loaded.settings, as_json=output == "json")


@main.command("check-config")
@click.argument("file", type=click.Path(path_type=Path))
def check_config(file: Path) -> None:
    """Check a configuration FILE and the web configuration that it names; every problem is told."""
    web_config = read_settings(file).settings.web.config_file
    if web_config is not None:
        try:
            load_web_config(web_config)
        except WebConfigError as error:
            fail(str(error), EXIT_USAGE)
    say(f"{file}: good")


@main.command()
@config_option
@click.option("--for-moves", is_flag=True, help="Fail as well where a right is missing that only moves need.")
@log_options
def preflight(
    config_file: Path | None,
    for_moves: bool,  # noqa: FBT001 - click's flag
    log_level: str | None,
    log_format: str | None,
) -> None:
    """Check each right, microversion and service that spotd needs, in plain words; nothing is changed."""
    from spotd.cli.preflight import print_preflight  # noqa: PLC0415

    loaded = read_settings(config_file)
    start_logging(loaded.settings, log_level, log_format, quiet=True)
    if not print_preflight(loaded.settings, for_moves=for_moves):
        fail("something that spotd needs is missing", 1)


@main.command()
@click.option(
    "--format", "output", type=click.Choice(["text", "markdown"]), default="text", show_default=True
)
def metrics(output: str) -> None:
    """Name every metric, with its type, labels and help."""
    for metric in METRICS:
        labels = ", ".join(metric.labels)
        if output == "markdown":
            click.echo(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |")
        else:
            click.echo(f"{metric.name}{{{labels}}} ({metric.kind})\n    {metric.help}")


for command in (check_rules, plan, explain, move, recover, journal, freeze, unfreeze, token):
    main.add_command(command)
