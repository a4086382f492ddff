"""The executor: one host from one aggregate to another, step by step, or back where it came from.

Reads the host live before each write and writes each step into the journal before and after it. What may
move is decided in planning; what the clouds are called with is in clouds.
"""
