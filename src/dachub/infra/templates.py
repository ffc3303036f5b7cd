"""Templates of pages."""

from __future__ import annotations

from jinja2 import ChoiceLoader, Environment, PackageLoader, PrefixLoader, StrictUndefined


def templates_of(package: str, **shared: str) -> Environment:
    """Templates of a package: what they show is escaped, and what they miss is an error.

    Parameters
    ----------
    shared
        Folder -> package whose templates are found in it.
    """
    others = {folder: PackageLoader(other) for folder, other in shared.items()}
    return Environment(
        loader=ChoiceLoader([PackageLoader(package), PrefixLoader(others)]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
