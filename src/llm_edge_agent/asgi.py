"""The same pipeline as an ASGI application, for embedding in Starlette, FastAPI or any ASGI server."""
