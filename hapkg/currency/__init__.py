"""Currency: what is newer elsewhere, which known holes are open, and the step to a newer version.

Knows recipes, sources, builds, and the form of documents about them; must not know chroots or how anything is shown.
"""
