"""A cloud's entry: which one is meant, and what clouds.yaml and `OS_*` say of it."""

from typing import Any

import openstack.config
import yaml
from keystoneauth1 import exceptions as ksa
from openstack import exceptions as sdk_exceptions

from spotd import __version__
from spotd.clouds.errors import CloudError, Failure
from spotd.clouds.openstack_errors import short


def region_of(cloud: str | None, region: str | None) -> Any:
    """The SDK's region of the cloud that is meant.

    Raises:
        CloudError: The cloud is not in clouds.yaml, or its entry lacks something.
    """
    try:
        loader: Any = openstack.config.OpenStackConfig(app_name="spotd", app_version=__version__)
        return loader.get_one(cloud=cloud, **({"region_name": region} if region else {}))
    except yaml.MarkedYAMLError as error:
        # Its own text may quote the line, and so a password.
        line = f" at line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise CloudError(Failure.CONFIGURATION, f"clouds.yaml is no valid YAML{line}") from None
    except (sdk_exceptions.SDKException, ksa.ClientException, OSError, ValueError) as error:
        raise configuration_error(cloud, error) from None


def configuration_error(cloud: str | None, error: Exception) -> CloudError:
    """What the libraries say of the entry, in spotd's words."""
    if "was not found" in str(error):
        known = _known_clouds()
        return CloudError(
            Failure.CONFIGURATION,
            f"openstack.cloud: no cloud named {cloud!r} in clouds.yaml; it has: {', '.join(known) or 'none'}",
        )
    where = f"cloud {cloud!r}" if cloud else "no cloud is named (openstack.cloud, or OS_CLOUD, or OS_*)"
    return CloudError(Failure.CONFIGURATION, f"{where}: {short(str(error))}")


def _known_clouds() -> list[str]:
    try:
        return sorted(openstack.config.OpenStackConfig().get_cloud_names())
    except (sdk_exceptions.SDKException, OSError, ValueError):
        return []
