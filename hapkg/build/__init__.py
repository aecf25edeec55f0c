"""From recipes to finished packages: plan, schedule, run, check and store builds.

Knows recipes, sources, chroots, and of a repository what it already holds; must not know the command line, the site or
how packages are published.
"""
