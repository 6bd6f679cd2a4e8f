"""A web service of Starlette under uvicorn: each request runs the workflow. Prints its port.

The arguments are the address of an OTLP receiver, that of the stub, and "flush" if the service flushes when it ends.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import otflow
from otflow.telemetry import flush
from tests.instrumentation.programs.shop import Shop

collector, stub, *wishes = sys.argv[1:]
workflow = Shop()


async def order(request: Request) -> JSONResponse:
    """Run the workflow for a request."""
    return JSONResponse(await workflow.run(url=stub))


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Flush at the end: uvicorn ends by the signal that it got, which leaves no other time for it."""
    yield
    if "flush" in wishes:
        flush()


otflow.configure(endpoint=collector, service_name="shop")
HTTPXClientInstrumentor().instrument()
app = OpenTelemetryMiddleware(Starlette(routes=[Route("/order", order)], lifespan=lifespan))
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])
