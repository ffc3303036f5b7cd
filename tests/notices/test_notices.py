"""Notices: given once each, to everybody they concern."""

from __future__ import annotations

from collections.abc import Sequence

from dachub.model.notices import NoticeKind, Severity
from dachub.server.factory import Factory


async def _warn(
    factory: Factory, usernames: list[str], key: str = "quota/lensing/75"
) -> Sequence[str]:
    return await factory.notices().give(
        usernames, key=key, kind=NoticeKind.QUOTA, severity=Severity.WARNING,
        title="Three quarters used", text="Of 100 core-hours 75 are used.", group="lensing",
    )  # fmt: skip


async def test_a_notice_is_given_once_to_each_person(factory: Factory) -> None:
    assert await _warn(factory, ["ada", "grace"]) == ["ada", "grace"]
    assert await _warn(factory, ["ada", "grace", "mary"]) == ["mary"]
    assert [notice.title for notice in await factory.notices().unread("ada")] == [
        "Three quarters used"
    ]


async def test_a_notice_to_everybody_is_not_too_much_at_once(factory: Factory) -> None:
    everybody = [f"person-{number}" for number in range(6000)]
    assert len(await _warn(factory, everybody)) == 6000


async def test_another_matter_is_another_notice(factory: Factory) -> None:
    await _warn(factory, ["ada"])
    assert await _warn(factory, ["ada"], key="quota/lensing/90") == ["ada"]
    assert len(await factory.notices().unread("ada")) == 2
