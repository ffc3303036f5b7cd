"""Versions side by side, and images that people bring."""

from __future__ import annotations

from datetime import date

import pytest
from pydantic import ValidationError

from dachub.model.software import (
    NO_OWN_IMAGES,
    OWN_IMAGE,
    Environment,
    EnvironmentVersion,
    ImageRefused,
    OwnImages,
    UnknownEnvironment,
    VersionRetired,
    choose_software,
)

TODAY = date(2026, 11, 24)
DIGEST = "sha256:" + "a" * 64
ASTRONOMY = Environment(
    name="astronomy",
    title="Astronomy",
    versions=(
        EnvironmentVersion(name="2026-11-23", interpreter="/opt/weekly/bin/python"),
        EnvironmentVersion(name="2026-11-20", interpreter="/opt/new/bin/python"),
        EnvironmentVersion(
            name="2026-06-01", interpreter="/opt/old/bin/python", retired_on=date(2026, 11, 25)
        ),
        EnvironmentVersion(name="2025-12-01", retired_on=date(2026, 11, 24)),
    ),
    aliases={"recommended": "2026-11-20", "weekly": "2026-11-23", "eldest": "2025-12-01"},
)
OWN = OwnImages(allowed=("registry.example.org/astro/", "quay.io/team/tools"), groups=("lensing",))


def chosen(name: str | None, image: str | None = None, group: str = "lensing") -> str:
    """What is accounted."""
    return choose_software(name, image, group, (ASTRONOMY,), OWN, TODAY).name


def test_who_names_no_version_gets_the_recommended_one() -> None:
    assert chosen(None) == chosen("astronomy") == chosen("astronomy:recommended")
    assert chosen("astronomy") == "astronomy:2026-11-20"


def test_an_alias_leads_to_its_version_and_the_version_is_what_is_accounted() -> None:
    assert chosen("astronomy:weekly") == chosen("astronomy:2026-11-23") == "astronomy:2026-11-23"


def test_each_version_starts_with_its_own_interpreter() -> None:
    software = choose_software("astronomy:2026-06-01", None, "lensing", (ASTRONOMY,), OWN, TODAY)
    assert software.interpreter == "/opt/old/bin/python"


def test_without_a_recommended_version_or_when_it_is_retired_the_newest_is_preset() -> None:
    plain = ASTRONOMY.model_copy(update={"aliases": {}})
    late = ASTRONOMY.model_copy(update={"aliases": {"recommended": "2025-12-01"}})
    for environment in (plain, late):
        preset = environment.preset(TODAY)
        assert preset is not None
        assert preset.name == "2026-11-23"


def test_a_version_starts_until_the_day_of_its_retirement_and_then_names_its_successor() -> None:
    assert chosen("astronomy:2026-06-01") == "astronomy:2026-06-01"
    for name in ("astronomy:2025-12-01", "astronomy:eldest"):
        with pytest.raises(VersionRetired, match=r"2026-11-24.*'astronomy:2026-11-20' instead"):
            chosen(name)


@pytest.mark.parametrize("name", ["astronomy:", "astronomy:2024", "astronomy:a:b", "astronomy:\0"])
def test_an_unknown_version_is_refused_with_what_there_is(name: str) -> None:
    with pytest.raises(UnknownEnvironment, match="Available: recommended, weekly"):
        chosen(name)


def test_an_environment_without_versions_has_none_to_choose() -> None:
    with pytest.raises(UnknownEnvironment, match="Available: none"):
        choose_software(
            "plain:1", None, "lensing", (Environment(name="plain"),), NO_OWN_IMAGES, TODAY
        )


@pytest.mark.parametrize(
    "update",
    [
        {"aliases": {"recommended": "2020"}},
        {"aliases": {"2026-11-20": "2026-11-23"}},
        {"interpreter": "/usr/bin/python3"},
        {"image": "registry.example.org/x:1"},
        {"versions": [{"name": "1"}, {"name": "1"}]},
        {"name": OWN_IMAGE},
    ],
)
def test_what_cannot_be_meant_is_refused_in_the_configuration(update: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Environment.model_validate(ASTRONOMY.model_dump() | update)


def test_a_day_is_a_version_also_where_yaml_takes_it_for_one() -> None:
    assert EnvironmentVersion.model_validate({"name": TODAY}).name == "2026-11-24"


@pytest.mark.parametrize(
    "image",
    [
        "registry.example.org/astro/shear:2026.1",
        f"registry.example.org/astro/deep/shear@{DIGEST}",
        f"quay.io/team/tools:1@{DIGEST}",
    ],
)
def test_an_image_of_an_allowed_place_may_be_brought(image: str) -> None:
    software = choose_software(OWN_IMAGE, image, "lensing", (ASTRONOMY,), OWN, TODAY)
    assert (software.name, software.image, software.is_own) == (OWN_IMAGE, image, True)
    assert chosen(None, image) == OWN_IMAGE


@pytest.mark.parametrize(
    "image",
    [
        "registry.example.org/astro/shear",  # no tag: another one tomorrow
        "registry.example.org/astro:1",
        "registry.example.org/astrology/shear:1",
        "registry.example.org/astro/../secret:1",
        "registry.example.org/astro//shear:1",
        "registry.example.org.evil.example/astro/shear:1",
        "evil.example/registry.example.org/astro/shear:1",
        "user@registry.example.org/astro/shear:1",
        "https://registry.example.org/astro/shear:1",
        "registry.example.org/astro/shear:1\n",
        "registry.example.org/astro/shear:1 --privileged",
        "registry.example.org/astro/SHEAR:1",
        "registry.example.org/astro/shear:" + "1" * 500,
        f"registry.example.org/astro/shear@{DIGEST}0",
        "quay.io/team/tools-of-others:1",
        "quay.io/team/tools/below:1",
        "shear:1",
        "",
        "\0",
    ],
)
def test_any_other_name_is_refused(image: str) -> None:
    with pytest.raises(ImageRefused):
        chosen(OWN_IMAGE, image)


def test_images_are_for_the_groups_that_may_and_for_nobody_unless_the_site_says_so() -> None:
    image = "quay.io/team/tools:1"
    with pytest.raises(ImageRefused, match="may not bring"):
        chosen(OWN_IMAGE, image, group="photoz")
    with pytest.raises(ImageRefused, match="may not bring"):
        choose_software(OWN_IMAGE, image, "lensing", (ASTRONOMY,), NO_OWN_IMAGES, TODAY)


def test_it_must_be_clear_which_is_meant() -> None:
    with pytest.raises(ImageRefused, match="not both"):
        chosen("astronomy", "quay.io/team/tools:1")
    with pytest.raises(ImageRefused, match="Name the image"):
        chosen(OWN_IMAGE)


@pytest.mark.parametrize("pattern", ["*", "quay.io", "quay.io/*", "https://quay.io/x", "", "team/"])
def test_an_allowed_place_is_a_repository_or_the_beginning_of_some(pattern: str) -> None:
    with pytest.raises(ValidationError):
        OwnImages(allowed=(pattern,))
    assert OwnImages(allowed=("localhost/", "registry:5000/x/")).are_open_to("lensing")
