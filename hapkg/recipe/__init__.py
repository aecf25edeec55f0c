"""Statements of a checkout: settings, recipes and their graph, and the debian/ folders that follow from them.

Knows no chroot, no repository and nothing of builds: everything here is a function of files in the checkout.
"""
