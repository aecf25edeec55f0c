"""States of the sources of a run, and what the state of one means for those that need it.

Knows names, needs and an order of priority; must not know stages, builds, nor why a source changes its state.
"""
