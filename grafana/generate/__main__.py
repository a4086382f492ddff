"""`python -m generate`: writes every board beside this folder."""

import sys

from generate.boards import write_all

for path in write_all():
    sys.stdout.write(f"{path}\n")
