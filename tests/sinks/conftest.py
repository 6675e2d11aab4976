"""What the contract suite asserts is shown as in a test module."""

import pytest

pytest.register_assert_rewrite("tests.sinks.contract", "tests.sinks.driver")
