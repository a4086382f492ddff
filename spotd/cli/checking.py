"""`spotd check-config`: all that a daemon reads and parses before it connects to anything, as it does it."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import click

from spotd.agents.cache import prove_backend
from spotd.cli.options import EXIT_USAGE, fail, read_settings, warn
from spotd.cli.printing import say
from spotd.clock import SystemClock
from spotd.clouds.cloud_entry import NoCloudHereError
from spotd.clouds.errors import CloudError
from spotd.clouds.keystone import CloudSession
from spotd.clouds.netbox import NetBox
from spotd.planning.load import load_rules
from spotd.settings import ConfigurationError, Settings, journal_url, state_directory
from spotd.store.database import Database
from spotd.store.errors import StoreError
from spotd.web.config.file import WebConfigError
from spotd.web.config.file import load as load_web_config

NOT_CHECKED = "openstack: the cloud is not checked, as this machine has no clouds.yaml and no OS_* variables"


@click.command("check-config")
@click.argument("file", type=click.Path(path_type=Path))
def check_config(file: Path) -> None:
    """Check a configuration FILE and all that it names; every problem is told, and nothing is connected to.

    Looked into as well: the cloud's entry in clouds.yaml, the rules, the web configuration, CA files, and the
    URLs of the journal and of Redis.
    """
    settings = read_settings(file).settings
    problems = [problem for check in _CHECKS for problem in _problems(check, settings)]
    if problems:
        fail("\n".join(problems), EXIT_USAGE)
    say(f"{file}: good")


def _problems(check: Callable[[Settings], None], settings: Settings) -> Iterator[str]:
    try:
        check(settings)
    except NoCloudHereError:
        warn(NOT_CHECKED)
    except (CloudError, StoreError, WebConfigError, ConfigurationError) as error:
        yield str(error)


def _cloud(settings: Settings) -> None:
    with closing(CloudSession(settings)):
        pass


def _netbox(settings: Settings) -> None:
    if settings.netbox is not None:
        with closing(NetBox(settings.netbox)):
            pass


def _cache(settings: Settings) -> None:
    prove_backend(settings.cache)


def _journal(settings: Settings) -> None:
    url = journal_url(settings.journal, state_directory(settings, os.environ))
    if url is not None:
        with closing(Database(url, SystemClock())):
            pass


def _rules(settings: Settings) -> None:
    if settings.rules.file is not None:
        load_rules(settings.rules.file)


def _web(settings: Settings) -> None:
    if settings.web.config_file is not None:
        load_web_config(settings.web.config_file)


_CHECKS = (_cloud, _netbox, _cache, _journal, _rules, _web)
