"""The telemetry stack as local processes: collector, Jaeger, Phoenix and Prometheus, all on loopback.

`python -m stack` installs, starts and ends it; the integration tests start single servers with the same functions. It
needs the standard library only, so that it runs before anything is installed. It never imports otflow: whatever sends
telemetry to these servers is none of its business.
"""
