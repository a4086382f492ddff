"""Rules, the planner and its guards: which hosts should change pool now, and why the others should not.

Pure: a fleet snapshot, the rules and a time come in, a plan comes out. No input or output, no clock, no
cloud; what must be remembered between cycles (rule states, recent moves) is handed in and handed back.
"""
