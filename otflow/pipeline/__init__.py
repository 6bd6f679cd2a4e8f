"""The way out for spans that otflow sets up itself: encode, hold within bounds, send, and count what is lost.

It knows spans of the SDK and the OTLP protocol; it never knows a run, a record or a workflow.
"""
