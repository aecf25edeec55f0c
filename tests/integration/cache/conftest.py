"""A store with a build, and the keys of two people, as the unit tests have them."""

from tests.unit.cache.conftest import keys, shared

__all__ = ["keys", "shared"]
