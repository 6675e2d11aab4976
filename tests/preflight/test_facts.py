"""Numbers out of what a master told."""

from repltap.preflight.facts import Facts, parse_version


def test_numbers() -> None:
    facts = Facts(info={"used_memory": "12", "role": "master"}, settings={"repl-timeout": "60"})
    assert facts.used_memory_bytes == 12
    assert facts.number("role") is None
    assert facts.number("absent") is None
    assert Facts(info={"used_memory": "9" * 5000}, settings={}).used_memory_bytes is None
    assert facts.setting("repl-timeout") == 60
    assert facts.setting("maxmemory") is None
    assert Facts(settings={}).used_memory_bytes is None


def test_versions() -> None:
    assert parse_version("7.0.15") == (7, 0, 15)
    assert parse_version("255.255.255") == (255, 255, 255)
    for wrong in ("", "7", "7.0", "7.0.x", "7.0.15.1", "v7.0.1", "9" * 5000 + ".0.0"):
        assert parse_version(wrong) is None
