"""What holds for every test."""

import gc

import pytest
from hypothesis import settings

pytest_plugins = ["tests.canary_search"]

settings.register_profile("busy machine", deadline=None)  # how long an example takes says how busy the machine is
settings.load_profile("busy machine")


def pytest_collection_finish(session: pytest.Session) -> None:
    """What was loaded stays to the end: no collection, nor a test that looks for leftovers, goes through it again."""
    gc.collect()
    gc.freeze()
