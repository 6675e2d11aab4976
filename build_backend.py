"""The build backend: setuptools, which needs mypyc only where what it writes can be compiled.

So an installation on a machine without a C compiler fetches nothing for it. REPLTAP_COMPILE=0 turns
it off everywhere.
"""

import os
import shlex
import shutil
import sys
import sysconfig
from pathlib import Path

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403 - the hooks that stay as they are

_MYPYC = "mypy[mypyc]>=1.16"


def get_requires_for_build_wheel(config_settings=None):
    """Name what building a wheel takes."""
    required = build_meta.get_requires_for_build_wheel(config_settings)
    return [*required, _MYPYC] if _can_compile() else required


def _can_compile():
    """Tell whether there is a compiler, and Python's headers for it."""
    command = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    return (
        os.environ.get("REPLTAP_COMPILE") != "0"
        and sys.implementation.name == "cpython"
        and shutil.which(command[0]) is not None
        and (Path(sysconfig.get_path("include")) / "Python.h").exists()
    )
