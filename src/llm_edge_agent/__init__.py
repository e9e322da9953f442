"""An LLM intercepting proxy: one OpenAI-compatible API for every provider."""

__version__ = "0.1.0"
