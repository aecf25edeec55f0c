"""Currency: what is newer elsewhere, which known holes are open, and the step to a newer version.

Knows recipes, sources and builds; must not know what is published or how it is shown.
"""
