"""The region in Keystone's catalog: which one is meant must be clear before anything is asked of it."""

from collections.abc import Iterable
from typing import Any

from keystoneauth1 import exceptions as ksa
from keystoneauth1.identity.base import BaseIdentityPlugin

from spotd.settings.checks import is_base_url

SERVICES = ("compute", "placement")


class _UnclearRegionError(ksa.ClientException):
    """The catalog does not have the region that is named, or has several where none is."""


def choosing_region(auth: Any, region: Any) -> None:
    """Has each new token refused whose catalog does not say which region is meant, and where it is.

    keystoneauth takes the first endpoint of the catalog where no region is named.
    """
    if not isinstance(auth, BaseIdentityPlugin):
        return
    wanted: str | None = region.get_region_name() or None
    services = [service for service in SERVICES if not region.get_endpoint(service)]
    authenticate = auth.get_auth_ref

    def authenticate_and_look(session: Any, **keywords: Any) -> Any:
        access = authenticate(session, **keywords)
        if access.has_service_catalog():
            for service in services:
                _refuse(_regions(access.service_catalog, service), wanted, service)
                interface = region.get_interface(service)
                _refuse_bad_urls(access.service_catalog.get_urls(service, interface, wanted), service)
        return access

    # On this one object: its class is the plugin that the entry names, of which there are dozens.
    auth.get_auth_ref = authenticate_and_look  # type: ignore[method-assign]


def _regions(catalog: Any, service: str) -> list[str]:
    try:
        endpoints = catalog.get_endpoints_data(service_type=service)
    except ValueError:  # keystoneauth looks for a version in each URL
        raise _of_no_use(service) from None
    return sorted({str(one.region_name) for found in endpoints.values() for one in found if one.region_name})


def _of_no_use(service: str) -> ksa.DiscoveryFailure:
    return ksa.DiscoveryFailure(f"the catalog's URL of {service} is none that can be asked")


def _refuse_bad_urls(urls: Iterable[str | None], service: str) -> None:
    """At the URL itself each library below fails in its own way."""
    for url in urls:
        try:
            is_base_url(url or "")
        except ValueError:
            raise _of_no_use(service) from None


def _refuse(found: list[str], wanted: str | None, service: str) -> None:
    choices = ", ".join(found)
    if wanted is not None and found and wanted not in found:
        raise _UnclearRegionError(
            f"the catalog has no {service} in region {wanted!r} (openstack.region, OS_REGION_NAME or "
            f"clouds.yaml); it has: {choices}"
        )
    if wanted is None and len(found) > 1:
        raise _UnclearRegionError(
            f"the catalog has {service} in several regions and none is named: set openstack.region to one of "
            f"{choices}"
        )
