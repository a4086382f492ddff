"""`spotd preflight`: what is there and what is missing, in plain words."""

from collections.abc import Iterable

from rich.console import Console

from spotd.cli.options import exit_for
from spotd.cli.printing import say
from spotd.clouds.errors import CloudError
from spotd.clouds.finding import Finding
from spotd.clouds.keystone import CloudSession
from spotd.clouds.netbox import NetBox
from spotd.clouds.preflight import look
from spotd.daemon.interpretation import interpretation_of
from spotd.fleet.gpu_names import GpuNames
from spotd.logs import mask_text
from spotd.settings import Settings


def print_preflight(settings: Settings, *, for_moves: bool) -> bool:
    """Prints a line for each need as it is found; whether all that is needed is there.

    `for_moves`: what only moves need counts too.
    """
    console = Console(highlight=False)
    try:
        session = CloudSession(settings)
    except CloudError as error:
        exit_for(error)
    netbox = NetBox(settings.netbox) if settings.netbox is not None else None
    try:
        names = GpuNames(interpretation_of(settings), (), ())
        findings = _print_findings(console, look(session, netbox, names.explains))
    finally:
        session.close()
        if netbox is not None:
            netbox.close()
    if netbox is None:
        console.print("[dim]skipped[/]  NetBox: not configured; everything else works without it")
    lacking = [finding for finding in findings if not finding.is_met]
    if lacking and all(finding.is_optional for finding in lacking):
        console.print("[dim]  note [/]  spotd can watch and plan; it cannot move hosts yet", soft_wrap=True)
    return not lacking if for_moves else all(finding.is_optional for finding in lacking)


def _print_findings(console: Console, found: Iterable[Finding]) -> list[Finding]:
    findings = []
    for finding in found:
        mark = "[green]found  [/]" if finding.is_met else "[red]missing[/]"
        use = "to move hosts: " if finding.is_optional else ""
        console.print(f"{mark}  {use}", end="")
        say(mask_text(f"{finding.need}: {finding.detail}"))  # one line each, also in a pipe
        findings.append(finding)
    return findings
