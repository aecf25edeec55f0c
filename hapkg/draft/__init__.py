"""`hapkg new`: a first recipe, read out of upstream's own files.

Knows recipes, sources, and how a trial build is begun; must not know repositories or sites.
"""
