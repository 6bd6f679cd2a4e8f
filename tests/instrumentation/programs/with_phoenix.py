"""A program whose telemetry was set up by Phoenix.

The arguments are the address of an OTLP receiver and that of the stub.
"""

from __future__ import annotations

import asyncio
import sys

from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from phoenix.otel import register

from tests.instrumentation.programs.shop import main

provider = register(
    endpoint=f"{sys.argv[1]}/v1/traces", project_name="shop", protocol="http/protobuf", batch=True, verbose=False
)
HTTPXClientInstrumentor().instrument()
print(asyncio.run(main(sys.argv[2])))
provider.shutdown()
