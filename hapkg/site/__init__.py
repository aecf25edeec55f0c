"""The site file: the cluster that a site wants, the files that follow from it, and the package that carries them.

Knows recipes, chroots and builds; must not know repositories or virtual machines.
"""
