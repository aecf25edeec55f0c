"""The keys that nodes trust: made, imported, renewed, rotated and retired, and signatures made with them.

Knows gpg; must not know what is signed.
"""
