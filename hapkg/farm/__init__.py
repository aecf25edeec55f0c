"""Builds on other machines, which Dask distributed hands out: what travels, the worker, and the coordinator.

Knows jobs and build caches; must not know the command line. `distributed` is imported only by who has other machines.
"""
