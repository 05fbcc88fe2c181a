"""The release that is running."""

from importlib.metadata import PackageNotFoundError, version


def _installed() -> str:
    try:
        return version("autogpt-server")
    except PackageNotFoundError:
        return "0+unknown"


VERSION = _installed()
