"""Forms do what they say, once, and say what is wrong."""

from __future__ import annotations

import httpx
from tests.portal.conftest import HOST, Portal, csrf
from tests.portal.seed import NOW, OPERATOR, PASSWORD

from dachub.model.people import Role
from dachub.model.storage import StorageArea
from dachub.model.usage import Policy, Resource

BASE = "/services/dac"
MEMBERS = "/groups/lenses/members"
EMPTY = "/groups/empty/allocations"


async def _send(portal: Portal, name: str, page: str, to: str, /, **fields: str) -> httpx.Response:
    """Open ``page``, send its form to ``to``, follow where that leads."""
    async with portal.client(name) as client:
        token = csrf(await client.get(BASE + page))
        return await client.post(
            BASE + to, data={"csrf_token": token, **fields}, follow_redirects=True
        )


async def _role(portal: Portal, group: str, username: str) -> Role | None:
    async with portal.process.factory() as factory:
        members = await factory.groups().members(group)
    return next((m.role for m in members if m.username == username), None)


async def test_a_manager_adds_promotes_and_removes_a_member(portal: Portal) -> None:
    page = await _send(
        portal,
        "max",
        MEMBERS,
        MEMBERS,
        username="loner",
        role="member",
    )
    assert page.status_code == 200
    assert page.history[0].status_code == 303
    assert "loner is now member of lenses" in page.text
    assert await _role(portal, "lenses", "loner") is Role.MEMBER
    await _send(
        portal,
        "max",
        MEMBERS,
        MEMBERS,
        username="loner",
        role="manager",
    )
    assert await _role(portal, "lenses", "loner") is Role.MANAGER
    remove = "/groups/lenses/members/loner/remove"
    page = await _send(portal, "max", remove, remove)
    assert "loner no longer belongs to lenses" in page.text
    assert await _role(portal, "lenses", "loner") is None


async def test_a_message_is_shown_once(portal: Portal) -> None:
    async with portal.client("pia") as client:
        token = csrf(await client.get(BASE + MEMBERS))
        first = await client.post(
            BASE + MEMBERS,
            data={"csrf_token": token, "username": "otto", "role": "member"},
            follow_redirects=True,
        )
        again = await client.get(BASE + MEMBERS)
        await client.post(f"{BASE}/groups/lenses/members/otto/remove", data={"csrf_token": token})
    assert "otto is now member" in first.text
    assert "otto is now member" not in again.text


async def test_what_was_typed_stays_when_it_is_wrong(portal: Portal) -> None:
    page = await _send(
        portal,
        "pia",
        MEMBERS,
        MEMBERS,
        username="Not A <Name>",
        role="x",
    )
    assert page.status_code == 422
    assert "Use lower-case letters" in page.text
    assert 'value="Not A &lt;Name&gt;"' in page.text
    assert 'aria-invalid="true"' in page.text
    unknown = await _send(portal, "pia", MEMBERS, MEMBERS, username="stranger")
    assert unknown.status_code == 404
    assert "first sign-in" in unknown.text
    assert 'value="stranger"' in unknown.text


async def test_a_pi_appoints_no_other_pi(portal: Portal) -> None:
    page = await _send(portal, "pia", MEMBERS, MEMBERS, username="meg", role="pi")
    assert page.status_code == 403
    assert "Only administrators appoint PIs" in page.text
    assert await _role(portal, "lenses", "meg") is Role.MEMBER


async def test_the_last_pi_stays(portal: Portal) -> None:
    remove = "/groups/lenses/members/pia/remove"
    page = await _send(portal, "admin", remove, remove)
    assert page.status_code == 409
    assert "only PI" in page.text
    assert await _role(portal, "lenses", "pia") is Role.PI


async def test_somebody_elses_token_is_not_accepted(portal: Portal) -> None:
    async with portal.client("max") as other:
        token = csrf(await other.get(BASE + MEMBERS))
    async with portal.client("pia") as client:
        page = await client.post(BASE + MEMBERS, data={"csrf_token": token, "username": "loner"})
    assert page.status_code == 403
    assert "nothing was changed" in page.text
    assert await _role(portal, "lenses", "loner") is None


async def test_a_form_from_another_site_is_not_accepted(portal: Portal) -> None:
    async with portal.client("pia") as client:
        token = csrf(await client.get(BASE + MEMBERS))
        for header in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
            page = await client.post(
                BASE + MEMBERS,
                data={"csrf_token": token, "username": "loner"},
                headers=header,
            )
            assert page.status_code == 403
        own = await client.post(
            BASE + MEMBERS,
            data={"csrf_token": token, "username": "no such"},
            headers={"Origin": HOST, "Sec-Fetch-Site": "same-origin"},
        )
    assert own.status_code == 422
    assert await _role(portal, "lenses", "loner") is None


async def test_an_enormous_form_is_refused(portal: Portal) -> None:
    page = await _send(portal, "pia", MEMBERS, MEMBERS, username="x" * 70_000)
    assert page.status_code == 413


async def test_an_administrator_gives_and_changes_an_allocation(portal: Portal) -> None:
    page = await _send(
        portal, "admin", EMPTY, EMPTY,
        amount="12.5", first="2027-03-01", last="2027-03-31", when_spent="deny",
        reason="To begin with",
    )  # fmt: skip
    assert page.status_code == 200, page.text
    assert "+12.50 core-hours" in page.text
    assert "1 Mar 2027 to 31 Mar 2027" in page.text
    async with portal.process.factory() as factory:
        (allocation,) = await factory.allocations().list(OPERATOR, group="empty")
    assert allocation.amount == 12.5 * 3_600_000
    assert (allocation.ends_at - allocation.starts_at).days == 31
    adjust = f"/groups/empty/allocations/{allocation.allocation_id}/adjustments"
    page = await _send(portal, "admin", EMPTY, adjust, amount="-2", reason="Too much")
    assert "-2.00 core-hours" in page.text
    assert "Too much" in page.text
    refused = await _send(portal, "admin", EMPTY, adjust, amount="-200", reason="All")
    assert refused.status_code == 409
    assert 'value="-200"' in refused.text
    for wrong in ({"amount": "many"}, {"amount": "1.00001"}, {"reason": ""}):
        fields = {"amount": "1", "reason": "Because", **wrong}
        refused = await _send(portal, "admin", EMPTY, adjust, **fields)
        assert refused.status_code == 422
        assert 'aria-invalid="true"' in refused.text


async def test_an_allocation_that_ends_before_it_begins_is_refused(portal: Portal) -> None:
    page = await _send(
        portal, "admin", EMPTY, EMPTY,
        amount="1", first="2027-03-02", last="2027-03-01", when_spent="deny", reason="Because",
    )  # fmt: skip
    assert page.status_code == 422
    assert "The last day lies before the first" in page.text


async def test_nobody_else_gives_allocations(portal: Portal) -> None:
    page = await _send(
        portal, "pia", MEMBERS, "/groups/lenses/allocations",
        amount="1", first="2027-03-01", last="2027-03-02", when_spent="deny", reason="Because",
    )  # fmt: skip
    assert page.status_code == 403


async def test_a_group_is_added_once(portal: Portal) -> None:
    fields = {"slug": "new-group", "title": "A new group", "description": ""}
    page = await _send(portal, "admin", "/admin/groups", "/admin/groups", **fields)
    assert page.status_code == 200
    assert "The group new-group was added" in page.text
    again = await _send(portal, "admin", "/admin/groups", "/admin/groups", **fields)
    assert again.status_code == 409
    assert 'value="new-group"' in again.text


async def test_a_local_account_is_added_disabled_and_enabled(portal: Portal) -> None:
    fields = {"username": "newcomer", "full_name": "New Comer", "password": PASSWORD}
    weak = await _send(
        portal, "admin", "/admin/people", "/admin/people", **{**fields, "password": "short"}
    )
    assert weak.status_code == 422
    assert "short" not in weak.text.replace("shorten", "")
    assert 'value="newcomer"' in weak.text
    page = await _send(portal, "admin", "/admin/people", "/admin/people", **fields)
    assert "The account newcomer was added" in page.text
    person = "/admin/people/newcomer"
    without = await _send(portal, "admin", person, f"{person}/disable", reason=" ")
    assert without.status_code == 422
    page = await _send(portal, "admin", person, f"{person}/disable", reason="A test")
    assert "A test" in page.text
    async with portal.client("newcomer") as client:
        assert (await client.get(f"{BASE}/")).status_code == 403
    page = await _send(portal, "admin", person, f"{person}/enable")
    assert "may sign in again" in page.text
    async with portal.client("newcomer") as client:
        assert (await client.get(f"{BASE}/")).status_code == 200
    page = await _send(portal, "admin", person, f"{person}/password", new=PASSWORD + " 2")
    assert "The password of newcomer was set" in page.text


async def test_an_administrator_cannot_disable_themselves(portal: Portal) -> None:
    page = await _send(
        portal, "admin", "/admin/people/meg", "/admin/people/admin/disable", reason="Oops"
    )
    assert page.status_code == 409


async def test_a_password_is_changed_by_who_knows_it(portal: Portal) -> None:
    new = "another battery staple"
    for fields, status in (
        ({"current": "wrong password", "new": new, "again": new}, 403),
        ({"current": PASSWORD, "new": new, "again": "something else"}, 422),
        ({"current": PASSWORD, "new": "short", "again": "short"}, 422),
    ):
        page = await _send(portal, "otto", "/password", "/password", **fields)
        assert page.status_code == status
        assert PASSWORD not in page.text
        assert new not in page.text
    page = await _send(
        portal, "otto", "/password", "/password", current=PASSWORD, new=new, again=new
    )
    assert "Your password was changed" in page.text
    async with portal.process.factory() as factory:
        otto = await factory.people().principal("otto")
        await factory.accounts().change_own_password(otto, new, PASSWORD)


async def test_who_signs_in_elsewhere_has_no_password_here(portal: Portal) -> None:
    async with portal.client("ada") as client:
        page = await client.get(f"{BASE}/password")
    assert page.status_code == 404
    assert "identity provider" in page.text


async def test_a_server_is_stopped_by_its_owner_and_by_an_administrator(portal: Portal) -> None:
    for name, owner in (("otto", "otto"), ("admin", portal.site.people[0])):
        stop = f"/sessions/{portal.site.running[owner]}/stop"
        page = await _send(portal, name, stop, stop)
        assert page.status_code == 200
        assert "The server is being stopped" in page.text
        async with portal.process.factory() as factory:
            due = await factory.sessions().due_for_stop(NOW)
            assert portal.site.running[owner] in {session.session_id for session in due}
            await factory.sessions().schedule_stop(portal.site.running[owner], None)


async def test_an_allocation_is_changed_in_amount_end_and_policy_by_one_adjustment(
    portal: Portal,
) -> None:
    await _send(
        portal, "admin", EMPTY, EMPTY, amount="1.5", unit="files-tb", first="2027-03-01",
        last="2027-05-31", when_spent="stop", warn_at="60, 80 %", grace_hours="12",
        stop_notice_minutes="30", reason="Images",
    )  # fmt: skip
    async with portal.process.factory() as factory:
        made = (await factory.allocations().list(OPERATOR, group="empty"))[0]
    assert made.resource is Resource.FILE_BYTES
    assert made.amount == 1.5 * 10**12
    assert made.rules.warn_at_percent == (60, 80)
    assert (made.rules.grace_seconds, made.rules.stop_notice_seconds) == (12 * 3600, 1800)
    adjust = f"{EMPTY}/{made.allocation_id}/adjustments"
    page = await _send(
        portal, "admin", EMPTY, adjust, amount="-1", last="2027-06-30", other_policy="true",
        when_spent="warn", reason="Half a year",
    )  # fmt: skip
    assert page.status_code == 200, page.text
    assert "Half a year" in page.text
    async with portal.process.factory() as factory:
        changed = await factory.allocations().show(OPERATOR, made.allocation_id)
    assert changed.amount == made.amount - 10**9
    assert changed.ends_at.isoformat() == "2027-07-01T00:00:00+00:00"
    assert changed.policy is Policy.WARN
    assert len(changed.adjustments) == 2
    for wrong in ({}, {"amount": "x"}, {"other_policy": "true", "warn_at": "often"}):
        refused = await _send(portal, "admin", EMPTY, adjust, reason="Because", **wrong)
        assert refused.status_code == 422
        assert "Nothing was changed" in refused.text


async def test_a_series_is_added_and_ended(portal: Portal) -> None:
    page = await _send(
        portal, "admin", EMPTY, "/groups/empty/series", amount="100", every="iris-year",
        carry_over="all", reason="Award 17",
    )  # fmt: skip
    assert "empty is given 100 core-hours every IRIS year" in page.text
    async with portal.process.factory() as factory:
        (series,) = await factory.series().list(OPERATOR, group="empty")
    assert series.carry_over_percent is None
    end = f"/groups/empty/series/{series.series_id}/end"
    page = await _send(portal, "admin", EMPTY, end, reason="The award ended")
    assert "The award ended" in page.text
    assert (await _send(portal, "admin", EMPTY, end, reason="Again")).status_code == 409


async def test_a_pi_sets_and_lifts_the_limit_of_a_member_and_a_manager_does_not(
    portal: Portal,
) -> None:
    member = f"{MEMBERS}/{portal.site.people[0]}"
    refused = await _send(portal, "max", member, f"{member}/limit", amount="5", reason="Mine")
    assert refused.status_code == 403
    page = await _send(portal, "pia", member, f"{member}/limit", amount="77.5", reason="Fairness")
    assert "of 77.50 core-hours used" in page.text
    assert "Fairness" in page.text
    listed = await _send(portal, "pia", member, f"{member}/limit", reason="Enough for all")
    assert "has no limit any more" in listed.text
    assert "no limit but the group's" in listed.text
    for wrong in ({"amount": "-1"}, {"amount": "5", "reason": ""}):
        again = await _send(portal, "pia", member, f"{member}/limit", **{"reason": "x", **wrong})
        assert again.status_code == 422
        assert 'aria-invalid="true"' in again.text


async def test_a_pi_describes_the_group(portal: Portal) -> None:
    edit = "/groups/transients/edit"
    page = await _send(portal, "paul", edit, edit, title="Transients", description="New & bright")
    assert "<h1>Transients</h1>" in page.text
    assert "New &amp; bright" in page.text
    async with portal.process.factory() as factory:
        entry = (await factory.audit().list(OPERATOR, group="transients", limit=1))[0]
    assert (entry.action, entry.actor) == ("group-described", "paul")
    untitled = await _send(portal, "paul", edit, edit, title="\u200b", description="")
    assert untitled.status_code == 422


async def test_an_administrator_corrects_a_session_and_its_owner_does_not(portal: Portal) -> None:
    async with portal.process.factory() as factory:
        session = (await factory.sessions().list(OPERATOR, username="meg", state="ended"))[20]
    page = f"/sessions/{session.session_id}"
    correct = f"{page}/corrections"
    refused = await _send(portal, "meg", "/groups/lenses/requests", correct, action="void",
                          reason="Please")  # fmt: skip
    assert refused.status_code == 403
    shown = await _send(portal, "admin", page, correct, action="void", reason="A fault of ours")
    assert "is charged nothing: A fault of ours" in shown.text
    end = f"{session.started_at:%Y-%m-%dT%H:%M:%S}"
    shown = await _send(
        portal, "admin", page, correct, action="amend", ended_at=end, reason="It hung at once"
    )
    assert "It hung at once" in shown.text
    for wrong in (
        {"action": "amend"}, {"action": "amend", "ended_at": "2020-01-01T00:00:00"},
        {"action": "amend", "ended_at": "yesterday"}, {"action": "gift"},
    ):  # fmt: skip
        assert (await _send(portal, "admin", page, correct, reason="x", **wrong)).status_code == 422
    shown = await _send(portal, "admin", page, correct, action="restore", reason="It was right")
    async with portal.process.factory() as factory:
        restored = await factory.sessions().show(OPERATOR, session.session_id)
    assert restored.core_seconds == session.core_seconds


async def test_an_administrator_excepts_a_home_from_the_limits(portal: Portal) -> None:
    person = "/admin/people/pia"
    page = await _send(
        portal, "admin", person, f"{person}/storage-limit", gigabytes="12.5", reason="Thesis"
    )
    assert "of 12.5 GB" in page.text
    async with portal.process.factory() as factory:
        (use,) = await factory.storage().now(OPERATOR, area=StorageArea.HOME, owner="pia")
    assert use.limit_bytes == 12_500_000_000
    group = "/groups/lenses/storage"
    page = await _send(portal, "admin", group, f"{group}/limit", files="5000000", reason="Tiles")
    assert "of 5,000,000 files" in page.text
