"""The language of the house: what can be true of a run, and its two written forms (JSON and spans).

Everything here is pure. A record knows neither the core that decides it nor the sinks that write it.
"""
