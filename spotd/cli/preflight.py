"""`spotd preflight`: what is there and what is missing, in plain words."""

from rich.console import Console

from spotd.cli.options import exit_for
from spotd.clouds.errors import CloudError
from spotd.clouds.keystone import CloudSession
from spotd.clouds.netbox import NetBox
from spotd.clouds.preflight import look
from spotd.settings import Settings


def print_preflight(settings: Settings) -> bool:
    """Prints a line for each need as it is found; whether all that is needed is there."""
    console = Console(highlight=False)
    try:
        session = CloudSession(settings)
    except CloudError as error:
        exit_for(error)
    netbox = NetBox(settings.netbox) if settings.netbox is not None else None
    good = True
    for finding in look(session, netbox):
        mark = "[green]found  [/]" if finding.is_met else "[red]missing[/]"
        console.print(f"{mark}  {finding.need}: ", end="")
        console.print(finding.detail, markup=False)
        good = good and (finding.is_met or finding.is_optional)
    if netbox is None:
        console.print("[dim]skipped[/]  NetBox: not configured; everything else works without it")
        return good
    netbox.close()
    return good
