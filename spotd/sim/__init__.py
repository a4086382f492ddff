"""The embedded cloud: HTTP servers that answer like Keystone, Nova, Placement and NetBox.

A stranger to spotd: it imports from no other room, so that it can only be met over HTTP.
"""

from spotd.sim.build import CloudSize
from spotd.sim.cloud import EmbeddedCloud
from spotd.sim.faults import Fault, FaultHandle, FaultKind
from spotd.sim.traffic import Request

__all__ = ["CloudSize", "EmbeddedCloud", "Fault", "FaultHandle", "FaultKind", "Request"]
