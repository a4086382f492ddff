"""Frozen values: host, aggregate, server, reading, snapshot; `assemble()` joins readings.

No input or output and no clock: times come in as arguments.
"""
