"""Assertions of modules that only help tests say what they compared, too."""

import pytest

pytest.register_assert_rewrite("tests.sinks.contract", "tests.sinks.driver")
