"""The version is the installed package's; which form of the decoder runs."""

import importlib
import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest

from repltap import version


def test_installed() -> None:
    assert importlib.metadata.version("repltap") == version.VERSION


def test_never_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    with monkeypatch.context() as patched:
        patched.setattr(importlib.metadata, "version", absent)
        assert importlib.reload(version).VERSION == "0+source"
    importlib.reload(version)


def test_compiled_or_not() -> None:
    """`make compiled` runs the tests so that they fail if the source is what they test."""
    assert version.is_compiled() is (os.environ.get("REPLTAP_COMPILED") == "1")
    module = importlib.import_module("repltap.delivery._hot.decoder")
    assert Path(str(module.__file__)).suffix == (".so" if version.is_compiled() else ".py")
    assert Path(str(module.__file__)).is_relative_to(Path(__file__).parent.parent)


def test_looking_does_not_import() -> None:
    code = "import sys, repltap.version as v; v.is_compiled(); print('orjson' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == b"False\n"
