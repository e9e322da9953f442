"""Programs of others that tests run: where the Makefile put them, or where the system has them."""

import shutil
from pathlib import Path

FETCHED = Path(__file__).parent.parent / ".tools" / "usr" / "bin"


def program(name: str) -> str:
    """The path of a program. Fails the test where it is missing."""
    own = FETCHED / name
    found = str(own) if own.exists() else shutil.which(name)
    assert found is not None, f"{name} is missing: run `make tools`"
    return found
