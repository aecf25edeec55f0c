"""Programs: how they are started and ended, as root through sudo, and confined where they read bytes of others.

Knows processes and this machine; must not know chroots, builds, repositories, or why a program runs.
"""
