"""Clean chroots: the base of a suite, layers of build dependencies above it, and sessions in which programs run.

Knows packages and suites; must not know recipes, or why something is run in a session.
"""
