"""What holds for every test."""

import gc

import pytest


def pytest_collection_finish(session: pytest.Session) -> None:
    """What was loaded stays to the end: no collection, nor a test that looks for leftovers, goes through it again."""
    gc.collect()
    gc.freeze()
