"""Nova's calls that change aggregates themselves; which hosts are in them is another matter."""

from collections.abc import Mapping

from spotd.clouds import nova
from spotd.clouds.errors import malformed
from spotd.clouds.keystone import CloudSession
from spotd.clouds.nova_rows import aggregate_of
from spotd.clouds.shape import object_of, optional_text, text_of, whole_number
from spotd.fleet.values import Aggregate


class AggregateCalls:
    """Creates, describes and deletes aggregates; every method raises `CloudError`, a write is sent once."""

    def __init__(self, session: CloudSession) -> None:
        self._session = session

    def create(self, name: str, availability_zone: str | None) -> Aggregate:
        """Makes an aggregate without hosts. Source: POST /os-aggregates.

        Raises:
            CloudError: `CONFLICT` where one has the name already.
        """
        body = {"aggregate": {"name": name, "availability_zone": availability_zone}}
        document = self._session.send(
            "POST",
            "compute",
            "/os-aggregates",
            operation="create aggregate",
            microversion=nova.AGGREGATES,
            body=body,
        )
        what = "nova: create aggregate"
        row = object_of(document, "aggregate", what)  # which has neither hosts nor metadata
        zone = optional_text(row, "availability_zone", what)
        return Aggregate(
            id=whole_number(row, "id", what),
            uuid=optional_text(row, "uuid", what),
            name=text_of(row, "name", what),
            hosts=(),
            metadata={} if zone is None else {"availability_zone": zone},
            availability_zone=zone,
        )

    def set_metadata(self, aggregate_id: int, metadata: Mapping[str, str | None]) -> Aggregate:
        """Sets these keys; None takes a key away. Source: POST /os-aggregates/{id}/action (set_metadata).

        Raises:
            CloudError: `NOT_FOUND` where there is none; `CONFLICT` where servers forbid another zone.
        """
        document = self._session.send(
            "POST",
            "compute",
            f"/os-aggregates/{aggregate_id}/action",
            operation="set metadata",
            microversion=nova.AGGREGATES,
            body={"set_metadata": {"metadata": dict(metadata)}},
        )
        aggregate = aggregate_of(object_of(document, "aggregate", "nova: set metadata"))
        if aggregate.id != aggregate_id:
            raise malformed(
                f"nova: set metadata on aggregate {aggregate_id} answered aggregate {aggregate.id}"
            )
        return aggregate

    def delete(self, aggregate_id: int) -> None:
        """Deletes an aggregate without hosts. Source: DELETE /os-aggregates/{id}.

        Raises:
            CloudError: `NOT_FOUND` where there is none; `REFUSED` where hosts are in it.
        """
        self._session.send(
            "DELETE",
            "compute",
            f"/os-aggregates/{aggregate_id}",
            operation="delete aggregate",
            microversion=nova.AGGREGATES,
            body=None,
        )
