"""Places of a repository other than a folder: a host reached by ssh, a bucket of S3, and the copy they are changed in.

Knows files and their order; must not know what a repository holds.
"""
