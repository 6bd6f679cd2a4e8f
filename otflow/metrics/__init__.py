"""Metrics of runs: what is measured (`instruments`), where it is counted (`cells`), and the ways out of the process."""
