"""Upstream's code, from its origins to a Debian source package: fetch, verify, lock, pack.

Knows recipes; knows neither chroots nor what is built from the source package.
"""
