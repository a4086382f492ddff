"""A cloud's entry: which one is meant, which of its regions, and that a session can be made of it.

openstacksdk reads it: clouds.yaml, secure.yaml, vendor profiles and `OS_*`. What it would choose silently, or
stumble over with an exception of its own, is refused here in a sentence that names the key.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import openstack.config
from keystoneauth1 import exceptions as ksa
from openstack import exceptions as sdk_exceptions
from openstack.config import vendors

from spotd import __version__
from spotd.clouds.catalog_region import choosing_region
from spotd.clouds.clouds_file import CloudsFiles, hide_secrets, read_clouds_files, refused
from spotd.clouds.entry_checks import refuse_unusable, refuse_wrong_types
from spotd.clouds.errors import CloudError
from spotd.clouds.openstack_errors import short
from spotd.logs import mask_text

_BESIDE_AN_ENTRY = {
    "interface": ("OS_INTERFACE", "OS_ENDPOINT_TYPE"),
    "cacert": ("OS_CACERT",),
    "cert": ("OS_CERT",),
    "key": ("OS_KEY",),
}
"""What the environment changes of an entry, as it does for the command `openstack`."""
_SELECTING = frozenset(
    {
        *("OS_CLOUD", "OS_CLOUD_NAME", "OS_REGION_NAME", "OS_CLIENT_CONFIG_FILE", "OS_CLIENT_SECURE_FILE"),
        *("OS_INSECURE", "OS_VERIFY", "OS_IDENTITY_API_VERSION"),
        *(name for names in _BESIDE_AN_ENTRY.values() for name in names),
    }
)
"""These alone make no cloud."""
_NOT_OPENSTACK = ("OS_TEST", "OS_STD", "OS_LOG")


class NoCloudHereError(CloudError):
    """This machine has no clouds.yaml and no `OS_*`: there is nothing to look into."""


class _Clouds(openstack.config.OpenStackConfig):
    """The SDK's view of all entries."""

    def regions_of(self, cloud: str) -> list[str]:
        """The regions that the entry or its vendor's profile names; empty where neither does."""
        return [str(region["name"]) for region in self._get_known_regions(cloud) if region["name"]]

    def knows_profile(self, profile: str) -> bool:
        """Whether a vendor's profile is the SDK's own or one of clouds-public.yaml."""
        _, found = self._load_vendor_file()
        return profile in ((found or {}).get("public-clouds") or {}) or profile in vendors.profiles()


def region_of(cloud: str | None, region: str | None) -> Any:
    """The SDK's region that is meant; nothing is sent.

    Args:
        cloud: The entry; None: `OS_CLOUD`, else `OS_*`, else the only entry.
        region: The region; None: `OS_REGION_NAME`, else the only one of the entry, else that of the catalog.

    Raises:
        CloudError: Several could be meant, or the one that is named is not there or is of no use.
    """
    environ = os.environ
    hide_secrets({key: value for key, value in environ.items() if key.startswith("OS_")})
    files = read_clouds_files(environ)
    with _told(str(files.clouds or "OS_*")):
        clouds = _Clouds(
            config_files=[str(files.clouds)] if files.clouds else [],
            secure_files=[str(files.secure)] if files.secure else [],
            app_name="spotd",
            app_version=__version__,
        )
    of_environment = str(clouds.envvar_key)
    name = cloud or environ.get("OS_CLOUD") or _meant(files, environ, of_environment)
    if name not in files.entries and name not in clouds.cloud_config["clouds"]:
        raise _unknown(name, files)
    is_file = name != of_environment
    where = f"cloud {name!r} in {files.clouds or files.secure}" if is_file else "OS_*"
    entry = clouds.cloud_config["clouds"][name]
    if is_file:
        _refuse_unreadable(files)
    refuse_wrong_types(entry, where)
    wanted = region or environ.get("OS_REGION_NAME") or None
    if not is_file and wanted:
        entry["region_name"] = wanted
    changes = _changes(environ) if is_file else {}
    with _told(where):
        profile = entry.get("profile", entry.get("cloud"))
        if profile and not clouds.knows_profile(profile):
            raise refused(f"{where}: profile names no vendor that the SDK or clouds-public.yaml knows")
        wanted = _one_region(clouds.regions_of(name), wanted, where)
        options: dict[str, Any] = {"cloud": name, "region_name": wanted, **changes}
        refuse_unusable(clouds.get_one(**options, validate=False).config, where)
        return clouds.get_one(**options)


def session_of(region: Any) -> Any:
    """The region's session, which takes no token whose catalog leaves open which region is meant.

    Raises:
        CloudError: The entry lacks something.
    """
    with _told(f"cloud {region.name!r}"):
        session = region.get_session()
        choosing_region(session.auth, region)
        return session


@contextmanager
def _told(where: str) -> Iterator[None]:
    """The libraries' exceptions in spotd's words, whichever they are: a person wrote what they read."""
    try:
        yield
    except CloudError:
        raise
    except (sdk_exceptions.SDKException, ksa.ClientException) as error:
        raise refused(f"{where}: {short(mask_text(str(error)))}") from None
    except Exception as error:  # noqa: BLE001 - its text may quote a password
        raise refused(f"{where}: the OpenStack SDK cannot use it ({type(error).__name__})") from None


def _meant(files: CloudsFiles, environ: Mapping[str, str], of_environment: str) -> str:
    """The only cloud that can be meant where none is named."""
    spoken = [key for key in environ if key.startswith("OS_") and not key.startswith(_NOT_OPENSTACK)]
    if set(spoken) - _SELECTING:
        return of_environment
    if len(files.entries) == 1:
        return files.entries[0]
    if files.entries:
        raise refused(
            f"openstack.cloud: {files.clouds} has several clouds and none is named, here or by OS_CLOUD: "
            f"choose one of {', '.join(sorted(files.entries))}"
        )
    _refuse_unreadable(files)
    nothing = refused("openstack.cloud: no cloud is named (openstack.cloud, or OS_CLOUD, or OS_*)")
    raise (
        nothing
        if files.clouds
        else NoCloudHereError(nothing.reason, f"{nothing}, and there is no clouds.yaml")
    )


def _unknown(name: str, files: CloudsFiles) -> CloudError:
    _refuse_unreadable(files)
    known = ", ".join(sorted(files.entries)) or "none"
    sentence = f"openstack.cloud: no cloud named {name!r} in clouds.yaml; it has: {known}"
    error = refused(sentence)
    return error if files.clouds or files.secure else NoCloudHereError(error.reason, sentence)


def _refuse_unreadable(files: CloudsFiles) -> None:
    for path, why in files.unreadable.items():
        raise refused(
            f"{path} cannot be read: {why}; make it readable, or name another by OS_CLIENT_CONFIG_FILE"
        )


def _one_region(known: Sequence[str], wanted: str | None, where: str) -> str | None:
    choices = ", ".join(known)
    if wanted is not None and known and wanted not in known:
        raise refused(f"openstack.region: {where} has no region {wanted!r}; it has: {choices}")
    if wanted is None and len(known) > 1:
        raise refused(
            f"openstack.region: {where} has several regions and none is named, here or by OS_REGION_NAME: "
            f"choose one of {choices}"
        )
    return wanted or next(iter(known), None)


def _changes(environ: Mapping[str, str]) -> dict[str, str]:
    changes: dict[str, str] = {}
    for key, variables in _BESIDE_AN_ENTRY.items():
        given = {environ[variable] for variable in variables if environ.get(variable)}
        if len(given) > 1:
            raise refused(f"{' and '.join(variables)} are both set and differ: unset one")
        for value in given:
            changes[key] = value
    return changes
