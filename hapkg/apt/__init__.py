"""apt of the host and of roots: archives, the entries that name them, settings, questions.

Knows distributions and suites; must not know chroots, repositories, or why an archive is asked.
"""
