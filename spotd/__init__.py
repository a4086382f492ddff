"""spotd watches the GPU hosts of one OpenStack region and moves them between host aggregates by rules."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("spotd")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+unknown"
