"""Builds that several machines share: entries in a folder or at an address, signed by who may write them.

Knows finished builds, keys and downloads; must not know recipes or chroots.
"""
