"""What `repltap run` makes of its flags."""

import logging
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from repltap import app, logs
from repltap.cli.main import main
from repltap.config import Config, LogConfig
from repltap.options import OPTIONS
from repltap.rereading import Sources


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """The configurations that the relay was started with; it ends with code 0."""
    configs: list[Config] = []

    def run(config: Config, sources: Sources) -> int:
        assert sources is not None
        configs.append(config)
        # It would end the process; the relay takes it when it can.
        assert signal.SIGHUP in signal.pthread_sigmask(signal.SIG_BLOCK, ())
        return 0

    def setup(config: LogConfig) -> None:
        logging.getLogger("test").debug("would log as %s", config)

    for option in OPTIONS:
        monkeypatch.delenv(option.variable, raising=False)
    monkeypatch.delenv("REPLTAP_CONFIG", raising=False)
    monkeypatch.setattr(app, "run", run)
    monkeypatch.setattr(logs, "setup", setup)
    return configs


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    yield
    assert signal.SIGHUP not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_flags(ran: list[Config]) -> None:
    flags = "--upstream redis://m:1 --listen h:2 --http h:3 --data-dir d --store-fsync no"
    assert main(["run", *flags.split(), "--log-json", "--upstream-announce-ip", "10.0.0.1"]) == 0
    [config] = ran
    assert (config.upstream.host, config.upstream.port) == ("m", 1)
    assert config.upstream.announce_ip == "10.0.0.1"
    assert (config.listen.host, config.listen.port) == ("h", 2)
    assert config.http is not None
    assert config.http.port == 3
    assert config.store.data_dir == Path("d")
    assert config.store.fsync.value == "no"
    assert config.log.json


def test_absent_flags_leave_the_file_and_the_environment_alone(
    ran: list[Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "r.toml"
    file.write_text('[upstream]\nurl = "redis://m"\n[store]\ndata_dir = "d"\n[log]\njson = true\n')
    monkeypatch.setenv("REPLTAP_CONFIG", str(file))
    monkeypatch.setenv("REPLTAP_LISTEN", "h:9")
    assert main(["run"]) == 0
    [config] = ran
    assert config.log.json
    assert config.listen.port == 9


def test_no_flag_takes_a_password(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "--upstream-password-file" in shown
    assert "--upstream-password " not in shown
    assert "--listen-password " not in shown
    assert main(["run", "--upstream-password", "x"]) == 2


def test_a_variable_that_is_nearly_an_option_is_told(
    ran: list[Config], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It was passed over without a word."""
    monkeypatch.setenv("REPLTAP_STORE_RETAIN_BYTE", "1")
    assert main(["run", "--upstream", "redis://m", "--data-dir", "d"]) == 0
    assert "did you mean REPLTAP_STORE_RETAIN_BYTES?" in caplog.text
