"""The option table is consistent, and docs/configuration.md shows it as it is."""

import dataclasses
from pathlib import Path

from repltap.config import FsyncPolicy, HttpConfig, ListenConfig, LogConfig, SnapshotConfig
from repltap.config import StoreConfig as Store
from repltap.config import UpstreamConfig as Upstream
from repltap.options import FSYNC_POLICIES, OPTIONS, SECTIONS

PAGE = Path(__file__).parent.parent / "docs" / "configuration.md"


def test_one_name_in_all_three_places() -> None:
    option = next(o for o in OPTIONS if o.name == "announce_ip")
    assert option.section == "upstream"
    assert option.flag == "--upstream-announce-ip"
    assert option.variable == "REPLTAP_UPSTREAM_ANNOUNCE_IP"


def test_names_are_unique() -> None:
    assert len({option.key for option in OPTIONS}) == len(OPTIONS)
    assert SECTIONS == ("upstream", "listen", "http", "store", "snapshot", "log")


def test_fsync_policies_are_those_of_the_configuration() -> None:
    assert [policy.value for policy in FsyncPolicy] == list(FSYNC_POLICIES)


_OF_SENTINEL = {"sentinel_username", "sentinel_password", "sentinel_password_file",
                "sentinel_tls"}  # fmt: skip


def test_every_option_is_a_field_and_every_field_an_option() -> None:
    """A field that no option fills could never be set; an option without one would crash."""
    sections = {
        "upstream": (
            Upstream,
            {"host", "port", "password_place", "sentinel"},
            {"url", "password_file", "tls", *_OF_SENTINEL},
        ),
        "listen": (
            ListenConfig,
            {"host", "port", "users", "plain", "tls_address"},
            {"address", "password", "password_file"},
        ),
        "http": (HttpConfig, {"host", "port", "tokens"}, {"address", "token", "token_file"}),
        "store": (Store, set(), set()),
        "snapshot": (SnapshotConfig, set(), set()),
        "log": (LogConfig, set(), set()),
    }
    for section, (kind, only_fields, only_options) in sections.items():
        # `tls_config` makes one object of all that begins with tls.
        fields = {field.name for field in dataclasses.fields(kind)} - only_fields - {"tls"}
        options = {
            o.name for o in OPTIONS if o.section == section and not o.name.startswith("tls_")
        } - only_options
        assert fields == options, section


def test_shown_defaults_are_the_true_ones() -> None:
    kinds = {
        "upstream": Upstream,
        "listen": ListenConfig,
        "store": Store,
        "snapshot": SnapshotConfig,
        "log": LogConfig,
    }
    for option in OPTIONS:
        if option.section not in kinds or option.default in ("", "listen") or option.short:
            continue
        if option.name.startswith("tls_"):
            continue  # see tests/test_tls_config.py
        field = next(f for f in dataclasses.fields(kinds[option.section]) if f.name == option.name)
        true = field.default.value if isinstance(field.default, FsyncPolicy) else field.default
        shown = None if option.default == "none" else option.parse(option.default)
        assert shown == true, option.flag


def test_the_page_lists_every_option() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for option in OPTIONS:
        flag = "(none)" if option.secret else f"`{option.flag}`"
        row = f"| {flag} | `{option.variable}` | `[{option.section}]` `{option.name}` |"
        assert row in page, f"{PAGE.name} lacks or misnames {option.flag}"
        assert option.help in page, f"{PAGE.name} explains {option.flag} differently"
