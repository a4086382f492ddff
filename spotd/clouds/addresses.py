"""Where the services are: as the catalog or clouds.yaml says, and Nova as the list of its versions says."""

import threading
from dataclasses import dataclass
from typing import Any

from keystoneauth1.session import Session
from requests import Response, codes

from spotd.clouds.calls import asking
from spotd.clouds.errors import CloudError, Failure
from spotd.clouds.openstack_errors import MICROVERSION_HEADERS, SERVICE_NAMES, translating
from spotd.clouds.transport import VERSIONS

_MICROVERSIONED = (2, 1)
_NOVA: dict[str, Any] = {"min_version": "2.1", "max_version": "2.latest"}
"""Nova's API that has microversions; 2.0, which ignores them, leaves out what spotd relies on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a service's API is."""

    url: str
    """Without a slash at its end."""
    place: str
    """Where it stands, for who has to correct it."""
    is_proved: bool
    """Whether its path or a list of versions tells of microversions; else each answer has to."""


class Addresses:
    """Finds the addresses of services; safe to use from several threads."""

    def __init__(self, session: Session, region: Any) -> None:
        """`region` is openstacksdk's, of one cloud; nothing is sent yet."""
        self._session = session
        self._region = region
        self._discovering = threading.Lock()

    def place(self, service: str) -> str:
        """Where the service's address stands."""
        if service == "keystone":
            return "auth_url in clouds.yaml"
        if self._region.get_endpoint(service):
            return f"{service}_endpoint_override in clouds.yaml"
        return f"the {service} endpoint in the catalog"

    def find(self, service: str) -> Address:
        """The address of a service's API; a token is at hand.

        Nova's is looked for among its versions, as the openstack command does, where the address that is
        known names none with microversions: one request, whose answer is kept.

        Raises:
            CloudError: There is none, or it leads to no version that spotd speaks.
        """
        name, place, is_nova = SERVICE_NAMES.get(service, service), self.place(service), service == "compute"
        with translating(service, VERSIONS, place, was_sent=False), self._discovering, asking(name, VERSIONS):
            known = self._known(service)
            data = self._session.get_endpoint_data(
                service_type=service,
                interface=self._region.get_interface(service),
                region_name=self._region.get_region_name(),
                endpoint_override=known,
                discover_versions=False,
                **(_NOVA if is_nova else {}),
            )
        url = known if data is None else data.url
        if not url:
            sentence = f"{name}: {place} leads to no version 2.1 of its API: correct it"
            raise CloudError(Failure.MICROVERSION, sentence, was_sent=False)
        version = None if data is None else data.api_version
        is_proved = not is_nova or (version is not None and version >= _MICROVERSIONED)
        return Address(url=url.rstrip("/"), place=place, is_proved=is_proved)

    def _known(self, service: str) -> str | None:
        """The address that clouds.yaml has for the service, with the ids that it asks for."""
        address: str | None = self._region.get_endpoint(service)
        if address is None or "%(" not in address:
            return address
        project = self._session.get_project_id()
        return address % {"project_id": project, "tenant_id": project, "user_id": self._session.get_user_id()}


def require_microversions(address: Address, response: Response, operation: str) -> None:
    """Passes answers that Nova gave at the version it was asked for.

    Raises:
        CloudError: `MICROVERSION` where an API without them answered, or something in between.
    """
    spoke = any(name in response.headers for name in MICROVERSION_HEADERS)
    if not address.is_proved and response.status_code < codes.bad_request and not spoke:
        raise CloudError(
            Failure.MICROVERSION,
            f"nova: {operation} is answered without a microversion: correct {address.place}, "
            "where no list of versions was found, to one that ends in /v2.1",
            status=response.status_code,
        )
