"""Repositories elsewhere than in a folder: on a host reached by ssh, in a bucket of S3; and their local copies.

Knows files and their order; must not know what a repository holds.
"""
