"""Documents of a suite: SBOM, VEX, provenance and rebuilds, staged with its indexes and checked with its packages.

Knows the room's indexes and keys, and evidence; must not know how a publish is decided.
"""
