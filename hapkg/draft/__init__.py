"""`hapkg new`: a first recipe, read out of upstream's own files.

Knows recipes and sources; nothing else of hapkg needs it.
"""
