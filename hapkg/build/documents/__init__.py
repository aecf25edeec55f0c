"""Documents of finished builds: SBOM and provenance, from what the store and the recipe know.

Knows builds, recipes and locks; must not know what a repository has of them.
"""
