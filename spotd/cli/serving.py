"""Runs the daemon in the foreground: signals in, exit codes out."""

import json
import os
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click

from spotd.cli.options import EXIT_FAILED, EXIT_USAGE, exit_for, fail, leave_for, start_logging
from spotd.cli.signals import Signals
from spotd.cli.state_directory import make_state_directory, warn_of_others
from spotd.clock import SystemClock
from spotd.clouds.errors import CloudError
from spotd.daemon.allocator import return_freed_memory
from spotd.daemon.daemon import Daemon
from spotd.daemon.notify import Notifier
from spotd.logs import register_secret
from spotd.planning.load import load_rules
from spotd.planning.rules import Rules
from spotd.settings import ConfigurationError, Settings, journal_url
from spotd.settings.journal import FILE_NAME
from spotd.settings.urls import sqlite_url
from spotd.store.errors import StoreError
from spotd.store.store import Store, open_store
from spotd.web.config.file import WebConfigError
from spotd.web.descriptors import raise_limit
from spotd.web.listening import ListenError

DEMO_RULES = """\
mode: active
limits: {moves_per_hour: 600, moves_per_day: 10000, moves_at_once: 4, cooldown: 10s}
rules:
  - name: take-back-for-ondemand
    from: [spot]
    to: ondemand
    when: to.free_hosts < 1 && from.free_hosts > 0
    until: to.free_hosts >= 2
    count: 2 - to.free_hosts
    at_most: 2
  - name: lend-idle-to-spot
    from: [ondemand]
    to: spot
    variant: none
    when: from.free_hosts > 2 && to.free_hosts < 3
    until: from.free_hosts <= 2 || to.free_hosts >= 4
    for: 4s
    count: from.free_hosts - 2
    at_most: 2
    hosts: {order: [longest-empty, rack-spread, name]}
    limits: {keep_hosts: 2}
"""
"""Impatient, so that something is to be seen within a minute; an operator starts from rules.example.yml."""
DEMO_TIDE_SECONDS = 40.0
"""Customers leave for half of it, so that hosts are lent, and then come: they are taken back."""


def run_until_signalled(
    settings: Settings,
    *,
    load: Callable[[], Settings] | None = None,
    on_reload: Callable[[Settings], None] | None = None,
    directory: Path | None = None,
    seconds: float | None = None,
    announce: Callable[[str], None] | None = None,
) -> None:
    """Runs the daemon until SIGTERM, SIGINT or so many seconds; SIGHUP reloads."""
    return_freed_memory()
    raise_limit()
    if directory is not None:
        make_state_directory(directory)
    store = _open_store(settings, directory)
    warn_of_others(directory, None if store is None else store.file)
    rules = _rules(settings, store)
    try:
        daemon = Daemon(
            settings,
            clock=SystemClock(),
            load=load,
            on_reload=on_reload,
            directory=directory,
            notifier=Notifier(os.environ),
            store=store,
            rules=rules,
        )
    except CloudError as error:
        exit_for(error)
    except WebConfigError as error:
        fail(str(error), EXIT_USAGE)
    with Signals() as signals:
        try:
            daemon.start()
        except ListenError as error:
            daemon.stop()
            fail(str(error), EXIT_FAILED)
        if announce is not None:
            announce(daemon.web.address)
        leave_at = None if seconds is None else time.monotonic() + seconds
        while signals.wait(leave_at) == signal.SIGHUP:
            daemon.reload()
        daemon.stop()


def _open_store(settings: Settings, directory: Path | None) -> Store | None:
    """The journal; None where there is no place for one, and this daemon only looks on."""
    url = journal_url(settings.journal, directory)
    try:
        return None if url is None else open_store(url)
    except StoreError as error:
        leave_for(error)


def _rules(settings: Settings, store: Store | None) -> Rules | None:
    if settings.rules.file is None:
        return None
    if store is None:
        fail("rules.file needs a journal: set collection.state_directory or journal.url", EXIT_USAGE)
    try:
        return load_rules(settings.rules.file)
    except ConfigurationError as error:
        fail(str(error), EXIT_USAGE)


def run_demo(
    *,
    hosts: int,
    seed: int,
    rate: float,
    listen_address: str,
    seconds: float | None,
    log_level: str | None,
    log_format: str | None,
) -> None:
    """The daemon on an embedded cloud; leaves nothing behind."""
    # Which no daemon on a real cloud need hold.
    from spotd.sim import CloudSize, EmbeddedCloud  # noqa: PLC0415

    with (
        tempfile.TemporaryDirectory(prefix="spotd-demo-") as folder,
        EmbeddedCloud(CloudSize(hosts=hosts), seed=seed) as cloud,
    ):
        state = Path(folder) / "state"
        clouds_file = Path(folder) / "clouds.yaml"
        clouds_file.touch(mode=0o600)
        clouds_file.write_text(json.dumps(cloud.clouds_yaml()), encoding="utf-8")  # JSON is YAML
        os.environ["OS_CLIENT_CONFIG_FILE"] = str(clouds_file)
        os.environ["no_proxy"] = "*"  # the embedded cloud is on this machine's loopback
        register_secret(cloud.netbox_token)
        rules_file = Path(folder) / "rules.yml"
        rules_file.write_text(DEMO_RULES, encoding="utf-8")
        settings = Settings.model_validate(
            {
                "openstack": {"cloud": "embedded"},
                "netbox": {"url": cloud.netbox_url, "token": cloud.netbox_token},
                "cache": {"snapshot_seconds": 2, "aggregates_seconds": 30, "netbox_seconds": 60},
                "web": {"listen_address": listen_address},
                "rules": {"file": str(rules_file)},
                "moves": {"settle_seconds": 2, "proof_gap_seconds": 1},
            }
        )
        start_logging(settings, log_level or "warning", log_format)

        def announce(address: str) -> None:
            click.echo(
                f"spotd watches an embedded cloud of {hosts} GPU hosts{'' if rate else ', standing still'}:"
            )
            click.echo(f"  metrics   http://{address}/metrics")
            click.echo(f"  overview  http://{address}/")
            click.echo(f"  Keystone  {cloud.auth_url}")
            click.echo(f"  NetBox    {cloud.netbox_url}")
            click.echo("Its rules lend idle on-demand hosts to spot and take them back:")
            click.echo(f"  SPOTD_JOURNAL__URL={sqlite_url(state / FILE_NAME)} spotd journal --follow")
            click.echo("Ctrl-C ends it and leaves nothing behind.")

        if rate:
            cloud.live.start(rate, tide_seconds=DEMO_TIDE_SECONDS)
        run_until_signalled(settings, directory=state, seconds=seconds, announce=announce)
        cloud.live.stop()
