"""The HTTP API under `/api`: one envelope, one guard, reads from the snapshot, writes through the journal.

A read never calls a cloud; the one exception, a host's servers as Nova has them now, is handed in.
"""
