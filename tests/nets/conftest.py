"""What tests of nets share."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def foreign():
    """The writers of foreign formats: tests/foreign.py."""
    spec = importlib.util.spec_from_file_location("foreign", Path(__file__).parents[1] / "foreign.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def state(foreign):
    """Random weights of a slim net D."""
    return foreign.state_of()
