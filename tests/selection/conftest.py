"""Small pools with every input a strategy may ask for."""

from __future__ import annotations

import pytest

from asvp.selection.testing import make_inputs


@pytest.fixture
def pool_inputs():
    """The function that makes all inputs of `select`."""
    return make_inputs
