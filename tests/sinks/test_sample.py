"""The sample of docs/sinks.md, as it stands there, against the contract."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from repltap.config import load_tap
from repltap.delivery.notices import Notices
from repltap.delivery.registry import find_sink
from repltap.delivery.settings import read_settings
from repltap.sink import Kind, Sink, SinkError, SinkErrorKind
from repltap.sinkspec import TARGET, parse_spec
from sinks.file import FileSink
from sinks.stdout import StdoutSink
from tests.servers.ports import free_port
from tests.servers.waiting import PATIENCE_SECONDS
from tests.sinks.contract import SinkContract, Target
from tests.sinks.driver import Driver, StubContext
from tests.sinks.records import numbered
from tests.sinks.sample import PAGE, Endpoint, sample


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    path = tmp_path_factory.mktemp("sample") / "http_sink.py"
    path.write_text(sample())
    spec = importlib.util.spec_from_file_location("http_sink", path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules["http_sink"] = made
    spec.loader.exec_module(made)
    yield made
    del sys.modules["http_sink"]


def settings(url: str, token: str | None = None) -> dict[str, Any]:
    return {"url": url, "token": token, "timeout": PATIENCE_SECONDS}


class EndpointTarget(Target):
    large_value_bytes = 1 << 20

    def __init__(self, endpoint: Endpoint, kind: type[Sink]) -> None:
        self.endpoint = endpoint
        self.kind = kind

    def sink(self) -> Sink:
        return self.kind(settings(self.endpoint.url))

    def delivered(self) -> list[Any]:
        return [json.loads(line) for line in self.endpoint.lines]

    @contextmanager
    def _failing(self) -> Iterator[None]:
        self.endpoint.answer = 503
        yield
        self.endpoint.answer = 200

    def failing(self) -> AbstractContextManager[None]:
        return self._failing()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as made:
        yield made


class TestContract(SinkContract):
    @pytest.fixture
    def target(self, endpoint: Endpoint, module: ModuleType) -> Target:
        return EndpointTarget(endpoint, module.HttpSink)


@pytest.mark.parametrize(
    ("answer", "kind", "passes"),
    [
        (503, SinkErrorKind.AWAY, True),
        (429, SinkErrorKind.AWAY, True),
        (401, SinkErrorKind.REFUSED, False),
        (0, SinkErrorKind.AWAY, True),
    ],
)
def test_what_an_answer_means(
    endpoint: Endpoint, module: ModuleType, answer: int, kind: SinkErrorKind, passes: bool
) -> None:
    endpoint.answer = answer
    sink = EndpointTarget(endpoint, module.HttpSink).sink()
    with pytest.raises(SinkError) as raised:
        Driver(sink, numbered(1, batch=1)).run()
    assert (raised.value.kind, raised.value.passes) == (kind, passes)


def test_nobody_listens(module: ModuleType) -> None:
    url = f"http://127.0.0.1:{free_port()}/in"
    with pytest.raises(SinkError, match="refused"):
        Driver(module.HttpSink(settings(url)), numbered(1, batch=1)).run()


def test_its_token_is_in_the_header_alone(endpoint: Endpoint, module: ModuleType) -> None:
    sink = module.HttpSink(settings(endpoint.url, token="s3cret"))
    Driver(sink, numbered(1, batch=1)).run()
    assert endpoint.headers["Authorization"] == "Bearer s3cret"
    endpoint.answer = 401
    sink.open(StubContext())
    sink.write(numbered(1, batch=1)[0])
    with pytest.raises(SinkError) as raised:
        sink.commit("p")
    assert "s3cret" not in str(raised.value)


def test_it_is_short_and_sees_the_public_api_alone() -> None:
    code = sample()
    assert code.count("\n") < 60
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("repltap"):
            assert node.module == "repltap.sink"


def test_the_settings_of_the_page_are_right(tmp_path: Path) -> None:
    """Its TOML, and its spec of a sink in a package."""
    (toml,) = re.findall(r"```toml\n(\[sink\..*?)```", PAGE, re.DOTALL)
    file = tmp_path / "repltap.toml"
    file.write_text(f'[store]\ndata_dir = "."\n[upstream]\nname = "m"\n{toml}')
    (sink,) = load_tap({}, {}, file).sinks
    made = read_settings(sink, find_sink(sink.type, sink.origin), {})
    assert (made.name, made.sink, made.options["keep_files"]) == ("audit", FileSink, 30)
    (spec,) = re.findall(r"--sink\s'(\S+)'", PAGE)
    parsed = parse_spec(spec)
    assert parsed.type == "my.http_sink:HttpSink"
    assert parsed.settings == {TARGET: "https://example.com/in", "token_file": "/etc/token"}


def table(heading: str) -> str:
    """A section of the page."""
    return PAGE.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


@pytest.mark.parametrize(("heading", "kind"), [("file", FileSink), ("stdout", StdoutSink)])
def test_the_page_names_every_setting(heading: str, kind: type[Sink]) -> None:
    for option in kind.options:
        row = next(line for line in table(heading).splitlines() if f"`{option.name}`" in line)
        if option.default is not None:
            assert f"`{option.default}`" in row


def test_the_page_names_every_kind_of_record() -> None:
    rows = table("Records")
    for kind in Kind:
        assert f"| `{kind.value}` |" in rows
    source = Path(sys.modules[Notices.__module__].__file__ or "").read_text()
    for name in re.findall(r'"(\w+)": ', source) + re.findall(r'details\["(\w+)"\]', source):
        assert f"`{name}`" in rows
