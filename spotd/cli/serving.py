"""Runs the daemon in the foreground: signals in, exit codes out."""

import json
import os
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click

from spotd.cli.options import EXIT_FAILED, EXIT_USAGE, exit_for, fail, start_logging
from spotd.cli.signals import Signals
from spotd.clock import SystemClock
from spotd.clouds.errors import CloudError
from spotd.daemon.allocator import return_freed_memory
from spotd.daemon.daemon import Daemon
from spotd.daemon.notify import Notifier
from spotd.logs import register_secret
from spotd.settings import Settings
from spotd.sim import CloudSize, EmbeddedCloud
from spotd.web.config.file import WebConfigError
from spotd.web.server import ListenError


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
    if directory is not None:
        _make(directory)
    try:
        daemon = Daemon(
            settings,
            clock=SystemClock(),
            load=load,
            on_reload=on_reload,
            directory=directory,
            notifier=Notifier(os.environ),
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


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fail(f"collection.state_directory: {directory}: {error.strerror}", EXIT_USAGE)


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
    with (
        tempfile.TemporaryDirectory(prefix="spotd-demo-") as folder,
        EmbeddedCloud(CloudSize(hosts=hosts), seed=seed) as cloud,
    ):
        clouds_file = Path(folder) / "clouds.yaml"
        clouds_file.touch(mode=0o600)
        clouds_file.write_text(json.dumps(cloud.clouds_yaml()), encoding="utf-8")  # JSON is YAML
        os.environ["OS_CLIENT_CONFIG_FILE"] = str(clouds_file)
        os.environ["no_proxy"] = "*"  # the embedded cloud is on this machine's loopback
        register_secret(cloud.netbox_token)
        settings = Settings.model_validate(
            {
                "openstack": {"cloud": "embedded"},
                "netbox": {"url": cloud.netbox_url, "token": cloud.netbox_token},
                "cache": {"snapshot_seconds": 2, "aggregates_seconds": 30, "netbox_seconds": 60},
                "web": {"listen_address": listen_address},
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
            click.echo("Ctrl-C ends it and leaves nothing behind.")

        if rate:
            cloud.live.start(rate)
        run_until_signalled(settings, seconds=seconds, announce=announce)
        cloud.live.stop()
