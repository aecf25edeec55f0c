"""Origins of upstream's code, a module for each type that `[[origins]]` of a recipe can name.

Knows one archive, server or repository at a time; knows neither what is asked next nor what the bytes are for.
"""
