"""What is kept where: who sees it, who is told, who may only start a rescue session."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.storage.conftest import GIB, OPERATOR, person, record

from dachub.infra.clock import HeldClock
from dachub.model.notices import Notice, NoticeKind, Severity
from dachub.model.problems import InvalidInput, NotFound, PermissionDenied
from dachub.model.storage import Folder, StorageArea, StorageState
from dachub.model.usage import Policy, Resource
from dachub.server.factory import Factory
from dachub.storage.models import Allowed, NotMeasured, ResampledJustNow

HOME, GROUP = StorageArea.HOME, StorageArea.GROUP


async def _grant(services: Factory, clock: HeldClock, gib: int, policy: Policy) -> None:
    await services.allocations().create(
        OPERATOR,
        group="lensing",
        resource=Resource.FILE_BYTES,
        amount=gib * GIB,
        starts_at=clock.now() - timedelta(days=1),
        ends_at=clock.now() + timedelta(days=90),
        policy=policy,
        reason="granted",
    )


async def _told(services: Factory, username: str) -> list[Notice]:
    notices = await services.notices().unread(username)
    return [notice for notice in notices if notice.kind is NoticeKind.STORAGE]


async def _titles(services: Factory, username: str) -> list[str]:
    return [notice.title for notice in await _told(services, username)][::-1]


# --- Reading -------------------------------------------------------------------------------------


async def test_people_see_their_home_and_their_groups_and_no_more(
    services: Factory, clock: HeldClock
) -> None:
    for owner, area in (("mia", HOME), ("ada", HOME), ("lensing", GROUP), ("lost+found", HOME)):
        await record(services, GIB, owner=owner, area=area)
    seen = await services.storage().now(person("mia"))
    assert {(use.area, use.owner) for use in seen} == {(HOME, "mia"), (GROUP, "lensing")}
    assert await services.storage().now(person("eve")) == []
    for area, owner in ((HOME, "ada"), (HOME, "lost+found")):
        with pytest.raises(PermissionDenied):
            await services.storage().now(person("mia"), area=area, owner=owner)
    with pytest.raises(PermissionDenied):
        await services.storage().now(person("eve"), area=GROUP, owner="lensing")


async def test_a_directory_of_nobody_is_reported_and_not_lost(
    services: Factory, clock: HeldClock
) -> None:
    await record(services, 3 * GIB, owner="old-colleague")
    (use,) = [use for use in await services.storage().now(OPERATOR) if not use.known]
    assert (use.owner, use.sample and use.sample.bytes) == ("old-colleague", 3 * GIB)


async def test_a_place_that_is_gone_holds_nothing_now_and_keeps_its_past(
    services: Factory, clock: HeldClock
) -> None:
    await record(services, GIB)
    await services.storage().note_present(HOME, ["ada"])
    use = await services.storage().of(HOME, "mia")
    assert (use.sample, use.state) == (None, StorageState.UNKNOWN)
    assert len(await services.storage().daily(clock.now().date())) == 1


async def test_the_largest_folders_come_along(services: Factory, clock: HeldClock) -> None:
    folders = [Folder(path="data", allocated_bytes=GIB, files=9)]
    await record(services, GIB, largest=folders)
    assert (await services.storage().of(HOME, "mia")).largest == folders


async def test_a_late_result_does_not_replace_a_newer_one(
    services: Factory, clock: HeldClock
) -> None:
    await record(services, 2 * GIB)
    clock.advance(-timedelta(seconds=60))
    await record(services, GIB)
    now = (await services.storage().of(HOME, "mia")).sample
    assert now is not None
    assert now.bytes == 2 * GIB


# --- History -------------------------------------------------------------------------------------


async def test_of_each_hour_and_after_a_month_of_each_day_the_last_sample_stays(
    services: Factory, clock: HeldClock
) -> None:
    start = clock.now()
    for minutes in (*[480] * 3 * 34, 20, 20, 20, 20):
        clock.advance(timedelta(minutes=minutes))
        await record(services, GIB)
    before = await services.storage().daily(start.date())
    assert await services.storage().thin() == 3 * 2 + 2 + 1  # of three days, of two hours
    kept = await services.storage().history(OPERATOR, HOME, "mia", start, clock.now())
    horizon = clock.now().replace(hour=0) - timedelta(days=30)
    old_days = [each.sampled_at.date() for each in kept if each.sampled_at < horizon]
    assert old_days == [start.date() + timedelta(days=day) for day in range(4)]
    assert await services.storage().daily(start.date()) == before
    assert await services.storage().thin() == 0


# --- Limits --------------------------------------------------------------------------------------


async def test_the_latest_exception_holds_and_nothing_of_the_past_is_lost(
    services: Factory,
) -> None:
    limits = services.storage_limits()
    await limits.set(OPERATOR, HOME, "mia", limit_bytes=50 * GIB, reason="simulations")
    await limits.set(OPERATOR, HOME, "mia", limit_bytes=20 * GIB, reason="simulations are done")
    use = await services.storage().of(HOME, "mia")
    assert (use.limit_bytes, use.limit_files) == (20 * GIB, 1000)
    history = await limits.history(person("mia"), HOME, "mia")
    assert [(limit.reason, limit.author) for limit in history] == [
        ("simulations", "operator:tests"), ("simulations are done", "operator:tests"),
    ]  # fmt: skip
    await limits.set(OPERATOR, HOME, "mia", reason="back to the site's")
    assert (await services.storage().of(HOME, "mia")).limit_bytes == 10 * GIB


async def test_limits_are_the_administrators_and_need_a_reason_and_somebody(
    services: Factory,
) -> None:
    limits = services.storage_limits()
    with pytest.raises(PermissionDenied):
        await limits.set(person("ada"), HOME, "ada", limit_bytes=1, reason="more")
    with pytest.raises(InvalidInput, match="reason"):
        await limits.set(OPERATOR, HOME, "mia", limit_bytes=1, reason=" \0 ")
    with pytest.raises(NotFound):
        await limits.set(OPERATOR, HOME, "nobody-here", limit_bytes=1, reason="x")
    with pytest.raises(InvalidInput, match="between"):
        await limits.set(OPERATOR, HOME, "mia", limit_files=-1, reason="x")
    with pytest.raises(InvalidInput, match="allocation add lensing"):
        await limits.set(OPERATOR, GROUP, "lensing", limit_bytes=1, reason="x")


async def test_what_a_group_may_hold_are_its_allocations_in_force_together(
    services: Factory, clock: HeldClock
) -> None:
    await _grant(services, clock, 2, Policy.DENY)
    await _grant(services, clock, 3, Policy.DENY)
    assert (await services.storage().of(GROUP, "lensing")).limit_bytes == 5 * GIB
    clock.advance(timedelta(days=91))
    assert (await services.storage().of(GROUP, "lensing")).limit_bytes is None


# --- Notices -------------------------------------------------------------------------------------


async def test_each_threshold_is_told_once_until_the_place_was_below_it(
    services: Factory, clock: HeldClock
) -> None:
    for gib in (7, 8.5, 9, 9.6, 10, 11, 5, 5, 8.5):
        await record(services, int(gib * GIB))
        clock.advance(timedelta(hours=1))
    assert await _titles(services, "mia") == [
        "Your home is 85 % full",
        "Your home is 95 % full",
        "Your home is full",
        "Your home is 85 % full",
    ]


async def test_a_group_folder_is_first_its_managers_matter_then_everybodys(
    services: Factory, clock: HeldClock
) -> None:
    await _grant(services, clock, 10, Policy.DENY)
    await record(services, 9 * GIB, owner="lensing", area=GROUP)
    assert await _titles(services, "mia") == []
    assert await _titles(services, "max") == ["The folder of 'lensing' is 90 % full"]
    clock.advance(timedelta(hours=1))
    await record(services, 10 * GIB, owner="lensing", area=GROUP)
    (notice,) = await _told(services, "mia")
    assert (notice.severity, notice.group) == (Severity.URGENT, "lensing")


async def test_too_many_files_are_as_full_as_too_many_bytes(
    services: Factory, clock: HeldClock
) -> None:
    use = await record(services, 1, files=1000)
    assert use.state is StorageState.OVER
    assert "1,000 of 1,000 files allowed" in use.message


# --- Starting ------------------------------------------------------------------------------------


async def test_over_quota_only_a_rescue_session_starts_and_the_place_is_measured_again(
    services: Factory, clock: HeldClock
) -> None:
    await record(services, 12 * GIB)
    reason = await services.storage().check_start("mia", "lensing")
    assert reason is not None
    assert reason.code == "over-storage-quota"
    for told in ("12.88 GB of 10.74 GB", "rescue session", "your administrator", "Delete or move"):
        assert told in reason.message
    job = await services.storage().job(requested=True)
    assert job is not None
    assert job.only == ["home/mia"]
    await record(services, 2 * GIB)
    assert await services.storage().job(requested=True) is not None  # may be from before
    await record(services, 2 * GIB, requested=True)
    assert await services.storage().job(requested=True) is None
    assert await services.storage().check_start("mia", "lensing") is None


async def test_a_full_group_folder_keeps_from_that_group_only(
    services: Factory, clock: HeldClock
) -> None:
    await _grant(services, clock, 1, Policy.DENY)
    await record(services, GIB, owner="lensing", area=GROUP)
    reason = await services.storage().check_start("mia", "lensing")
    assert reason is not None
    assert "The folder of the group 'lensing'" in reason.message
    assert await services.storage().check_start("mia", "other") is None


async def test_where_the_policy_is_to_warn_nobody_is_kept(
    services: Factory, clock: HeldClock
) -> None:
    await _grant(services, clock, 1, Policy.WARN)
    use = await record(services, GIB, owner="lensing", area=GROUP)
    assert use.state is StorageState.OVER
    assert "rescue" not in use.message
    assert await services.storage().check_start("mia", "lensing") is None
    job = await services.storage().job()
    assert job is not None
    assert job.allowed["group/lensing"] == Allowed()  # nor by the file system


async def test_a_limit_of_files_holds_whatever_the_policy_for_bytes_is(
    services: Factory, clock: HeldClock
) -> None:
    await _grant(services, clock, 1, Policy.WARN)
    await services.storage_limits().set(OPERATOR, GROUP, "lensing", limit_files=5, reason="x")
    await record(services, 2 * GIB, owner="lensing", area=GROUP, files=5)
    reason = await services.storage().check_start("mia", "lensing")
    assert reason is not None
    assert "5 of 5 files" in reason.message


@pytest.mark.parametrize("jump", [timedelta(hours=6, seconds=1), -timedelta(days=1)])
async def test_old_figures_and_a_clock_that_jumped_keep_nobody(
    services: Factory, clock: HeldClock, jump: timedelta
) -> None:
    await record(services, 12 * GIB)
    clock.advance(jump)
    assert await services.storage().check_start("mia", "lensing") is None
    assert (await services.storage().of(HOME, "mia")).state is StorageState.UNKNOWN


async def test_never_measured_keeps_nobody(services: Factory) -> None:
    assert await services.storage().check_start("mia", "lensing") is None


# --- Measuring anew ------------------------------------------------------------------------------


async def test_people_can_have_their_home_measured_anew_but_not_all_the_time(
    services: Factory, clock: HeldClock
) -> None:
    storage = services.storage()
    with pytest.raises(NotMeasured):
        await storage.resample(person("mia"), HOME, "mia")
    await record(services, 12 * GIB)
    with pytest.raises(ResampledJustNow):
        await storage.resample(person("mia"), HOME, "mia")
    clock.advance(timedelta(seconds=20))
    assert (await storage.resample(person("mia"), HOME, "mia")).measured_again_at == clock.now()
    with pytest.raises(ResampledJustNow):
        await storage.resample(person("mia"), HOME, "mia")
    with pytest.raises(PermissionDenied):
        await storage.resample(person("eve"), HOME, "mia")
