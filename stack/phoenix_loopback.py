"""Run the Phoenix server with both of its ports on loopback, quietly; to be run by the Python that has Phoenix.

Its setting for the host places the HTTP port only. The gRPC port is opened on every address of the machine, whatever is
set; so whatever a gRPC server of this process is asked to open is put on loopback.
"""

from __future__ import annotations

import sys

from grpc import aio
from uvicorn.config import LOGGING_CONFIG

make_server = aio.server


def make_loopback_server(*args: object, **kwargs: object) -> aio.Server:
    """Make a gRPC server that opens its ports on loopback, where it was told to open them everywhere."""
    server = make_server(*args, **kwargs)
    open_port = server.add_insecure_port
    server.add_insecure_port = lambda address: open_port(f"127.0.0.1:{address.rpartition(':')[2]}")
    return server


aio.server = make_loopback_server
LOGGING_CONFIG["loggers"]["uvicorn.access"]["level"] = "WARNING"  # or its log has a line for each request, for ever
sys.argv = ["phoenix", "serve"]

from phoenix.server.main import main  # noqa: E402  # it takes what it needs of gRPC when it is imported

main()
