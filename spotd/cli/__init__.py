"""The command line: arguments, signals and exit codes; the work is done by other rooms.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.
"""

from spotd.cli.commands import main

__all__ = ["main"]
