"""Dashboards, recording rules and alerts as data: for Grafana and Prometheus, made of frozen records.

Everything in here is pure: records go in, text comes out, and the same records always give the same text. Nothing in
here knows a file, a server or a run; of a workflow it knows the graph and what its steps declare.
"""
