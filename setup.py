"""Build the loops that see every command as extensions, where that can be done; else without.

Everything else about the package is in pyproject.toml. Only wheels have the extensions: a source
tree that is worked in (`pip install -e`) would go on with what was compiled of an earlier version.
`make compiled` builds and tests them in a copy.
"""

import os
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_ext import build_ext

MODULES = sorted(Path("repltap").glob("**/_hot/[!_]*.py"))


class BuildAllOrNone(build_ext):
    """Builds the extensions, all of them, or installs without: they can't be mixed."""

    def run(self):
        """Build them; a failure is a message."""
        try:
            super().run()
        except Exception as exc:
            print(f"repltap: going on without compiled loops: {exc}", file=sys.stderr)
            for output in self.get_outputs():
                Path(output).unlink(missing_ok=True)
            self.extensions = []


def extensions():
    """Translate the modules to C; none where mypyc is absent or fails."""
    # Metadata is asked for several times in one installation, and takes no compiler.
    if not {"bdist_wheel", "build_ext"} & set(sys.argv) or os.environ.get("REPLTAP_COMPILE") == "0":
        return []
    try:
        from mypyc.build import mypycify

        # What the modules import is not there in an isolated build.
        flags = [f"--config-file={os.devnull}", "--ignore-missing-imports"]
        found = mypycify([*flags, *map(str, MODULES)], group_name="repltap", strip_asserts=False)
    except (Exception, SystemExit) as exc:
        print(f"repltap: going on without compiled loops: {exc}", file=sys.stderr)
        return []
    for extension in found:
        # Another compiler warns of other things.
        extension.extra_compile_args = [a for a in extension.extra_compile_args if a != "-Werror"]
    return found


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildAllOrNone})
