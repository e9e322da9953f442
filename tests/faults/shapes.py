"""What every refusal and failure has in common."""

import re
from typing import Any

from tests.e2e.raw_client import Answer

_OWN_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


def assert_error(answer: Answer, status: int, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    """OpenAI's error object with the right status, type, code and param, in a reply that no browser takes for a page.
    `code` None: any."""
    assert answer.status == status, answer.body
    assert answer.whole
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert _OWN_ID.fullmatch(answer.headers["x-request-id"])
    assert set(answer.json) == {"error"}
    error = answer.error
    assert {"message", "type", "param", "code"} <= set(error)
    assert isinstance(error["message"], str)
    assert error["message"]
    assert isinstance(error["type"], str)
    assert error["type"] == ("server_error" if status >= 500 else error["type"])
    assert error["code"] is None or isinstance(error["code"], str)
    if code is not None:
        assert error["code"] == code
    assert error["param"] == param
    return error
