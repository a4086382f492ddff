"""Looks whether Nova and Placement are new enough, by the documents in which they tell their versions."""

from collections.abc import Iterator
from typing import Any

from spotd.clouds import oldest
from spotd.clouds.errors import CloudError
from spotd.clouds.finding import Finding
from spotd.clouds.keystone import CloudSession


def look_at_versions(session: CloudSession) -> Iterator[Finding]:
    """One finding for each service that tells its newest microversion.

    One that does not is judged by what it answers to the questions that follow.
    """
    for service, needed in oldest.SERVICES.items():
        try:
            document, _ = session.get(service, "/", operation="read versions", microversion=None)
        except CloudError:
            continue
        newest = _newest(document)
        if newest is not None:
            yield Finding(
                need=f"{needed.server} is new enough",
                is_met=newest >= needed.version,
                detail=needed.refusal(oldest.written(newest)),
            )


def _newest(document: Any) -> oldest.Version | None:
    """Nova's document is of one version of its API, Placement's a list of them."""
    if not isinstance(document, dict):
        return None
    one, several = document.get("version"), document.get("versions")
    rows = [one, *(several if isinstance(several, list) else [])]
    told = [
        oldest.version_of(str(row.get(key)))
        for row in rows
        if isinstance(row, dict)
        for key in ("version", "max_version")
    ]
    return max(filter(None, told), default=None)
