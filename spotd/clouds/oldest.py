"""The oldest server of each kind that spotd works with, and the sentence that refuses an older one."""

import re
from dataclasses import dataclass

_VERSION = re.compile(r"v?([0-9]{1,3})\.([0-9]{1,3})(?![0-9])")
Version = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Oldest:
    """The oldest version of a server."""

    server: str
    version: Version
    """Of OpenStack's services the highest microversion that every run asks for."""
    released: str

    @property
    def need(self) -> str:
        """Such as `Nova 2.69 (Stein, 2019) or newer`."""
        return f"{self.server} {written(self.version)} ({self.released}) or newer"

    def refusal(self, has: str | None) -> str:
        """What is needed, and what is there instead where that is known."""
        return f"spotd needs {self.need}" + (f"; this is {has}" if has else "")


KEYSTONE = Oldest(server="Keystone", version=(3, 0), released="Grizzly, 2013")
NOVA = Oldest(server="Nova", version=(2, 69), released="Stein, 2019")
PLACEMENT = Oldest(server="Placement", version=(1, 31), released="Stein, 2019")
NETBOX = Oldest(server="NetBox", version=(3, 5), released="2023")

SERVICES = {"compute": NOVA, "placement": PLACEMENT}
"""By the service type of the catalog."""


def version_of(text: str) -> Version | None:
    """Major and minor number at the start of a text such as `4.7.3-Docker-3.2`; None where there are none."""
    found = _VERSION.match(text)
    return (int(found[1]), int(found[2])) if found else None


def written(version: Version) -> str:
    """Such as `4.7`."""
    return f"{version[0]}.{version[1]}"
