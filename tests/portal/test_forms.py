"""Forms do what they say, once, and say what is wrong."""

from __future__ import annotations

import httpx
from tests.portal.conftest import HOST, Portal, csrf
from tests.portal.seed import NOW, OPERATOR, PASSWORD

from dachub.model.people import Role

BASE = "/services/dac"
MEMBERS = "/groups/lenses/members"
EMPTY = "/groups/empty/allocations"


async def _send(portal: Portal, name: str, page: str, action: str, **fields: str) -> httpx.Response:
    """Open ``page``, send its form to ``action``, follow where that leads."""
    async with portal.client(name) as client:
        token = csrf(await client.get(BASE + page))
        return await client.post(
            BASE + action, data={"csrf_token": token, **fields}, follow_redirects=True
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
    assert "must have signed in once" in unknown.text
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
    assert "+12.500 core-hours" in page.text
    assert "2027-03-01 to 2027-03-31" in page.text
    async with portal.process.factory() as factory:
        (allocation,) = await factory.allocations().list(OPERATOR, group="empty")
    assert allocation.amount == 12.5 * 3_600_000
    assert (allocation.ends_at - allocation.starts_at).days == 31
    adjust = f"/groups/empty/allocations/{allocation.allocation_id}/adjustments"
    page = await _send(portal, "admin", EMPTY, adjust, amount="-2", reason="Too much")
    assert "-2.000 core-hours" in page.text
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


async def test_a_script_on_a_page_of_the_same_host_reads_no_token(portal: Portal) -> None:
    async with portal.client("admin") as client:
        for mode in ("cors", "no-cors", "same-origin"):
            page = await client.get(
                f"{BASE}/admin/people",
                headers={"Sec-Fetch-Mode": mode, "Sec-Fetch-Site": "same-origin"},
            )
            assert page.status_code == 403
            assert "csrf_token" not in page.text
        opened = await client.get(f"{BASE}/admin/people", headers={"Sec-Fetch-Mode": "navigate"})
    assert csrf(opened)
