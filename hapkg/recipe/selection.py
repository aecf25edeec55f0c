"""Selection of what is built without being named: every recipe that is not optional, and those that the project names.

A recipe is optional when a bare `hapkg build-all` should not depend on it: its source cannot be had everywhere, or it
stands in for something that most users want as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from hapkg.control import SourceName, Suite
from hapkg.errors import ConfigError, did_you_mean
from hapkg.recipe.model import Recipe
from hapkg.recipe.settings import Settings


def select(recipes: Mapping[SourceName, Recipe], settings: Settings, suite: Suite) -> tuple[SourceName, ...]:
    """The recipes that are built for a suite without being named, in their order."""
    return tuple(name for name, recipe in recipes.items() if _is_selected(recipe, settings, suite))


def find_kernels(recipe: Recipe, settings: Settings, suite: Suite) -> tuple[str, ...]:
    """Kernels, as the project names them, that a module's recipe is built for: its own, and those of all modules."""
    named = [word.rpartition("=") for word in settings.kernels.get(suite, ())]
    names, for_all = _names(recipe, settings), recipe.optional is None or _is_named(recipe, settings)
    kernels = (kernel for module, _, kernel in named if module in names or (not module and for_all))
    return tuple(dict.fromkeys(kernels)) if recipe.module else ()


def check_selection(
    recipes: Iterable[Recipe], settings: Settings, unread: Collection[SourceName] = frozenset()
) -> None:
    """Refuse names that no recipe has; unread ones may be anything. Raises ConfigError with file and key."""
    every = list(recipes)
    optional = [recipe for recipe in every if recipe.optional]
    _check("optional", settings.optional, optional, settings, "optional recipe", unread)
    modules = [recipe for recipe in every if recipe.module]
    for suite, words in settings.kernels.items():
        named = [module for module, _, _ in (word.rpartition("=") for word in words) if module]
        _check(f"kernels.{suite}", named, modules, settings, "recipe of a kernel module", unread)


def _check(
    key: str,
    words: Iterable[str],
    recipes: Iterable[Recipe],
    settings: Settings,
    what: str,
    unread: Collection[SourceName],
) -> None:
    known = sorted(name for recipe in recipes for name in _names(recipe, settings))
    for word in words:
        if word not in known and not {word, settings.package_prefix + word} & set(unread):
            hint = did_you_mean(word, known) or f"there are: {', '.join(known) or 'none'}"
            raise ConfigError(f"pyproject.toml, [tool.hapkg] {key}: there is no {what} {word}", hint=hint)


def _is_selected(recipe: Recipe, settings: Settings, suite: Suite) -> bool:
    return recipe.optional is None or _is_named(recipe, settings) or bool(find_kernels(recipe, settings, suite))


def _is_named(recipe: Recipe, settings: Settings) -> bool:
    return not _names(recipe, settings).isdisjoint(settings.optional)


def _names(recipe: Recipe, settings: Settings) -> set[str]:
    return {recipe.source, recipe.source.removeprefix(settings.package_prefix)}
