"""The gateway inside a Starlette (or FastAPI) application, beside its own routes.

`python examples/starlette_app.py` serves it; the gateway answers under `/llm`. Alone, without an application around
it, the gateway is served by any ASGI server: `uvicorn --factory llm_edge_agent:asgi_app`.
"""

import contextlib
import os
from collections.abc import AsyncIterator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from llm_edge_agent import asgi_app

gateway = asgi_app()


async def hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse("The gateway is under /llm, so base_url ends with /llm/v1.")


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    await gateway.state()  # a mounted application is not told of the start: settings are read and checked here
    yield
    await gateway.close()


app = Starlette(routes=[Route("/", hello), Mount("/llm", app=gateway)], lifespan=lifespan)

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8000")), log_level="warning")
