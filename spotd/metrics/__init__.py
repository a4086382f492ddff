"""Prometheus collectors over the snapshot, and the table of every metric name with its help.

Collectors do no input or output; they do not know agents or moves.
"""
