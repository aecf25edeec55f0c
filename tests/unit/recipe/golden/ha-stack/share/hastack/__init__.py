"""The node's command. Python's standard library is all it needs."""
