"""The version is the installed package's."""

import importlib
import importlib.metadata

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
