"""All recipes of a project: those that can be read, the faults of the others, and the one that a person means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hapkg.control import SourceName
from hapkg.errors import RecipeError, UsageError, did_you_mean
from hapkg.recipe.model import RECIPE_FILE, Recipe, read_recipe
from hapkg.recipe.settings import Project
from hapkg.recipe.style import read_styles


@dataclass(frozen=True, kw_only=True)
class RecipeCollection:
    """The recipes of a project by source name, in alphabetical order."""

    recipes: dict[SourceName, Recipe]
    wrong: Mapping[SourceName, RecipeError]
    """The faults of recipes that cannot be read, by the name that their folder stands for."""


def read_collection(project: Project) -> RecipeCollection:
    """Read every recipe of a project. Raises RecipeError where there is none at all."""
    if not project.recipes.is_dir():
        raise RecipeError(f"{project.recipes} does not exist", hint="recipes live in recipes/NAME/recipe.toml")
    prefix, styles = project.settings.package_prefix, read_styles(project.templates)
    recipes: dict[SourceName, Recipe] = {}
    wrong: dict[SourceName, RecipeError] = {}
    for file in sorted(project.recipes.glob(f"*/{RECIPE_FILE}")):
        name = SourceName(prefix + file.parent.name)
        try:
            recipes[name] = read_recipe(file.parent, package_prefix=prefix, styles=styles)
        except RecipeError as error:
            wrong[name] = error
    if not recipes and not wrong:
        raise RecipeError(f"{project.recipes} holds no recipe", hint="recipes live in recipes/NAME/recipe.toml")
    return RecipeCollection(recipes=recipes, wrong=wrong)


def read_recipes(project: Project) -> dict[SourceName, Recipe]:
    """All recipes of a project by source name. Raises RecipeError for the first that is wrong."""
    found = read_collection(project)
    for error in found.wrong.values():
        raise error
    return found.recipes


def find_recipe(recipes: dict[SourceName, Recipe], word: str, package_prefix: str) -> Recipe:
    """The recipe a person means: its source name, its folder, or one of its binary packages. Raises UsageError."""
    for recipe in recipes.values():
        names = {recipe.source, recipe.source.removeprefix(package_prefix), *(p.package for p in recipe.packages)}
        if word in names:
            return recipe
    known = [
        name for recipe in recipes.values() for name in (recipe.source, recipe.source.removeprefix(package_prefix))
    ]
    raise UsageError(f"there is no recipe {word}", hint=did_you_mean(word, known) or "hapkg list shows them")
