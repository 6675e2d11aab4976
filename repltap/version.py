"""Which repltap this is."""

from importlib.machinery import SOURCE_SUFFIXES
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

try:
    VERSION = version("repltap")
except PackageNotFoundError:  # run from a source tree that was never installed
    VERSION = "0+source"


def is_compiled() -> bool:
    """Tell whether the loops that see every command run compiled (by mypyc) or as Python."""
    # Named, not imported: this is below them, and --help is to stay quick.
    spec = find_spec("repltap.delivery._hot.decoder")
    return bool(spec and spec.origin and not spec.origin.endswith(tuple(SOURCE_SUFFIXES)))
