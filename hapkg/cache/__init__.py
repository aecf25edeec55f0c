"""The build cache: builds, base chroots and layers that several machines share, signed by who may write them.

Knows finished builds, chroots as files, published repositories, keys and downloads; must not know recipes.
"""
