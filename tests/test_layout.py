"""The tree keeps its shape: tests mirror sources, files and functions stay small."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("repltap", "sinks")

# Not tested by module: what drives real servers, and rules about the whole tree.
CROSS_CUTTING = ("tests/e2e/", "tests/servers/", "tests/bench/", "tests/soak/", "tests/deploy/")
WHOLE_TREE = {
    "tests/net/test_damage.py",
    "tests/store/test_failing_calls.py",
    "tests/sinks/test_contract.py",
    "tests/sinks/test_sample.py",
    "tests/store/test_power_failure.py",
    "tests/test_layout.py",
    "tests/net/test_regressions.py",
    "tests/net/test_regressions_downstream.py",
}

# The house aims at 400 and 40; these are where a change has to split something.
MAX_MODULE_LINES = 450
MAX_FUNCTION_LINES = 50

# Only data, or only composition: other modules' tests and the end-to-end tests run them.
WITHOUT_TEST = {
    "repltap/__main__.py",
    "repltap/config_sections.py",
    "repltap/delivery/command_data.py",
    "repltap/delivery/plan.py",
    "repltap/errors.py",
    "repltap/gather.py",
    "repltap/net/owner.py",
    "repltap/status/access.py",
    "repltap/status/certificates.py",
    "repltap/status/counters.py",
    "repltap/status/link.py",
    "repltap/status/refresh.py",
    "repltap/status/relay.py",
    "repltap/status/replicas.py",
    "repltap/status/sentinel.py",
    "repltap/status/sinks.py",
    "repltap/status/store.py",
    "sinks/_redis/options.py",
}


def sources() -> list[Path]:
    found = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return [path for path in found if "__pycache__" not in path.parts]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def mirror_of(source: Path) -> str:
    """Where the tests of a source module are: repltap/x/y.py has tests/x/test_y.py."""
    inside = source.relative_to(ROOT / "repltap") if name(source).startswith("repltap/") else None
    inside = inside or source.relative_to(ROOT)
    stem = inside.stem.strip("_")
    return (Path("tests") / inside.parent / f"test_{stem}.py").as_posix()


def is_part_of(module: str, mirrors: set[str]) -> bool:
    """Whether a test module tests one source module, or one concept of it.

    test_refresh_stale.py is a part of the tests of refresh.py, beside test_refresh.py.
    """
    stem = module.removesuffix(".py")
    ends = [at for at, char in enumerate(stem) if char == "_"]
    return module in mirrors or any(f"{stem[:end]}.py" in mirrors for end in ends)


def test_every_test_module_mirrors_a_source_module() -> None:
    mirrors = {mirror_of(source) for source in sources()}
    modules = {name(path) for path in (ROOT / "tests").rglob("test_*.py")} - WHOLE_TREE
    lost = {
        module
        for module in modules
        if not module.startswith(CROSS_CUTTING) and not is_part_of(module, mirrors)
    }
    assert not lost, f"test modules without a source module: {sorted(lost)}"


def test_every_source_module_has_a_test_module() -> None:
    untested = [
        name(source)
        for source in sources()
        if source.name != "__init__.py"
        and name(source) not in WITHOUT_TEST
        and not (ROOT / mirror_of(source)).exists()
    ]
    assert not untested, f"source modules without a test module: {untested}"


def test_the_exceptions_exist() -> None:
    for exception in WITHOUT_TEST:
        assert (ROOT / exception).exists()
        assert not (ROOT / mirror_of(ROOT / exception)).exists(), f"{exception} has a test now"


def test_packages_hold_a_docstring_only() -> None:
    for path in sources():
        if path.name == "__init__.py":
            body = ast.parse(path.read_text(encoding="utf-8")).body
            assert len(body) == 1, f"{name(path)} holds code"
            assert isinstance(body[0], ast.Expr), f"{name(path)} has no docstring"


@pytest.mark.parametrize("path", sources(), ids=name)
def test_modules_and_functions_stay_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= MAX_MODULE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert _code_lines(node) <= MAX_FUNCTION_LINES, f"{name(path)}: {node.name}"


def test_modules_of_tests_stay_small() -> None:
    """They are split by concept too: test_x.py, test_x_concept.py, and what both share beside."""
    modules = sorted((ROOT / "tests").rglob("*.py"))
    lines = {name(path): path.read_text(encoding="utf-8").count("\n") for path in modules}
    long = {module: count for module, count in lines.items() if count > MAX_MODULE_LINES}
    assert not long, f"modules of tests with more than {MAX_MODULE_LINES} lines: {long}"


def _code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring."""
    assert node.end_lineno is not None
    total = node.end_lineno - node.lineno + 1
    first = node.body[0]
    if ast.get_docstring(node) is not None:
        assert first.end_lineno is not None
        total -= first.end_lineno - first.lineno + 1
    return total
