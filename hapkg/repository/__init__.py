"""The apt repository: pool, indexes, signatures, snapshots, and the locations where one can lie.

Knows packages as files; must not know recipes, builds or chroots.
"""
