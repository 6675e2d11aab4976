"""What each source gives, and the order in which they count; errors are in test_config."""

from pathlib import Path

import pytest

from repltap.config_sources import read_sources
from repltap.errors import ConfigError


def test_layers_are_kept_apart_and_the_strongest_counts(tmp_path: Path) -> None:
    file = tmp_path / "repltap.toml"
    file.write_text('[store]\ndata_dir = "file"\nfsync = "always"\n[sink.a]\ntype = "file"\n')
    given = read_sources(
        {"data_dir": "flag", "sink": ("stdout",)},
        {"REPLTAP_DATA_DIR": "environment", "REPLTAP_LOG_LEVEL": "debug"},
        file,
    )
    assert given.values == {"data_dir": Path("flag"), "store_fsync": "always", "log_level": "debug"}
    assert [layer.get("data_dir") for layer in given.layers] == [
        Path("flag"),
        Path("environment"),
        Path("file"),
    ]
    assert [sink.name for sink in given.sinks] == ["a", "stdout"]


def test_a_password_comes_from_the_strongest_source_that_has_one(tmp_path: Path) -> None:
    word = tmp_path / "word"
    word.write_text("from the file\n")
    flags = {"upstream": "redis://h", "upstream_password_file": str(word)}
    environ = {"REPLTAP_UPSTREAM_PASSWORD": "variable"}
    assert read_sources(flags, environ, None).password("upstream") == "from the file"
    assert read_sources({}, environ, None).password("upstream") == "variable"
    assert read_sources({}, environ, None).password("listen") is None


def test_a_password_twice_in_one_source_is_refused() -> None:
    environ = {"REPLTAP_UPSTREAM": "redis://u:p@h", "REPLTAP_UPSTREAM_PASSWORD": "q"}
    with pytest.raises(ConfigError, match="more than once"):
        read_sources({}, environ, None).password("upstream")


def test_a_near_section_is_named(tmp_path: Path) -> None:
    file = tmp_path / "repltap.toml"
    file.write_text("[sinks.a]\n")
    with pytest.raises(ConfigError, match="did you mean sink"):
        read_sources({}, {}, file)
