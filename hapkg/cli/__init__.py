"""The command line: options, commands, what is printed and how the program ends.

Knows every room; no room knows it. The only one that prints and exits.
"""
