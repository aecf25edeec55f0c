"""Virtual machines that prove a published repository: a cluster formed from it, hurt and looked at.

Knows repositories, base chroots and sites; must not know recipes or builds.
"""
