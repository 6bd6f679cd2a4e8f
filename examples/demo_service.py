"""The demo as a service: one process that runs it again and again, so that there are rates to look at.

    python examples/demo_service.py

Its metrics are served on port 9464, where the Prometheus of `make stack` and of docker-compose.yml asks for them. Its
spans go where the OTEL_* variables say. It ends with Ctrl-C.
"""

from __future__ import annotations

import os
import sys
import time

import otflow
from otflow.cli import main


def serve() -> None:
    """Serve metrics, and run the demo every $DEMO_EVERY seconds until somebody ends it, or it fails."""
    host, port = os.environ.get("DEMO_HOST", "127.0.0.1"), int(os.environ.get("DEMO_PORT", "9464"))
    otflow.configure(prometheus_port=port, prometheus_host=host)
    while True:
        sys.argv = ["otflow", "demo", "--offline"]
        try:
            main()
        except SystemExit as end:  # the command says how it went
            if end.code:
                raise
        time.sleep(float(os.environ.get("DEMO_EVERY", "15")))


if __name__ == "__main__":
    serve()
