"""Documents that say what packages are made of and how: SBOM, VEX, provenance; making them, and reading them again.

Knows their formats, and names of packages as scanners have them. Must not know recipes, builds or repositories: whoever
has one of these tells its facts.
"""
