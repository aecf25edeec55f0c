"""Builds that are repeated: from what is published, byte by byte the same; and from a folder, without a network.

Knows sources, chroots, builds and what is published; must not know how anything is shown.
"""
