"""PDFs as Anthropic counts them: by pages."""

import base64
import re

_PAGE = re.compile(rb"/Type\s*/Page(?![A-Za-z])")
PAGE_TOKENS = 1500
"""Flat price of a page, whatever stands on it."""
MAX_PAGES = 100
MAX_PAGES_LARGE = 600
"""Of models with a context window of a million tokens."""


def pages(data_base64: str) -> int:
    """Pages of a PDF, at least 1; the data is base64 of a PDF."""
    return max(1, len(_PAGE.findall(base64.b64decode(data_base64))))
