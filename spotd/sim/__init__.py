"""The embedded cloud: HTTP servers that answer like Keystone, Nova, Placement and NetBox.

A stranger to spotd: it imports from no other room, so that it can only be met over HTTP.
"""

from spotd.sim.build_hosts import CloudSize
from spotd.sim.cloud import EmbeddedCloud
from spotd.sim.faults import OPERATIONS, Fault, FaultHandle, FaultKind, fault_on
from spotd.sim.operator import HostTruth, Operator
from spotd.sim.traffic import Request

__all__ = [
    "OPERATIONS",
    "CloudSize",
    "EmbeddedCloud",
    "Fault",
    "FaultHandle",
    "FaultKind",
    "HostTruth",
    "Operator",
    "Request",
    "fault_on",
]
