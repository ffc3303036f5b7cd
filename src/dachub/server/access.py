"""Who may call what: one table, for the tests of every route and for the documentation."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Caller(StrEnum):
    """In which capacity somebody calls, with regard to a group and what belongs to it."""

    ANYONE = "anyone"
    PERSON = "person of another group"
    MEMBER = "member"
    MANAGER = "manager"
    PI = "PI"
    ADMINISTRATOR = "administrator"
    DISABLED = "disabled person"
    SERVER = "member's server"
    ADMINISTRATORS_SERVER = "administrator's server"
    HUB = "hub"


C = Caller
ALL = frozenset(C)
REGISTERED = frozenset({C.PERSON, C.MEMBER, C.MANAGER, C.PI, C.ADMINISTRATOR})
OWN = REGISTERED | {C.SERVER, C.ADMINISTRATORS_SERVER}
MEMBERS = frozenset({C.MEMBER, C.MANAGER, C.PI, C.ADMINISTRATOR, C.SERVER})
MANAGERS = frozenset({C.MANAGER, C.PI, C.ADMINISTRATOR})
PIS = frozenset({C.PI, C.ADMINISTRATOR})
ADMINISTRATORS = frozenset({C.ADMINISTRATOR})
OWNER = frozenset({C.MEMBER, C.SERVER, C.ADMINISTRATOR})
OWNER_ALONE = frozenset({C.MEMBER, C.SERVER})
OWNER_OR_MANAGERS = OWNER | MANAGERS
HUB = frozenset({C.HUB})


@dataclass(frozen=True, slots=True)
class Access:
    """Who passes a route.

    Attributes
    ----------
    path
        Below ``/services/dac``, as in the OpenAPI document.
    """

    method: str
    path: str
    callers: frozenset[Caller]
    what: str


def _api(method: str, path: str, callers: frozenset[Caller], what: str) -> Access:
    return Access(method, f"/api/v1{path}", callers, what)


API_TABLE = (
    _api("GET", "/alive", ALL, "whether the process answers"),
    _api("GET", "/health", ALL, "whether the service works"),
    _api("GET", "/openapi.json", ALL, "the API's description"),
    _api("GET", "/status", ADMINISTRATORS, "versions, database, workers"),
    _api("GET", "/me", OWN, "oneself"),
    _api("GET", "/me/start-options", OWN, "what one's groups have left"),
    _api("GET", "/me/data", REGISTERED, "all that is held about oneself"),
    _api("PUT", "/me/password", REGISTERED, "one's own password (local accounts)"),
    _api("GET", "/me/notices", OWN, "one's own notices"),
    _api("POST", "/me/notices/read", OWN, "note that they were read"),
    _api("POST", "/me/notices/{notice_id}/read", OWNER_ALONE, "note that one was read"),
    _api("GET", "/me/notice-preferences", OWN, "how one gets notices"),
    _api("PUT", "/me/notice-preferences/{kind}", REGISTERED, "choose how"),
    _api("GET", "/usage", OWN, "one's own usage"),
    _api("GET", "/usage?group", MEMBERS, "a group's usage; of members only their own part"),
    _api("GET", "/usage?user", OWNER, "a person's usage"),
    _api("GET", "/sessions", OWN, "one's own sessions"),
    _api("GET", "/sessions?group", MEMBERS, "a group's sessions; members see only theirs"),
    _api("GET", "/sessions?user", OWNER, "a person's sessions"),
    _api("GET", "/sessions/{session_id}", OWNER_OR_MANAGERS, "one session"),
    _api("POST", "/sessions/{session_id}/stop", OWNER, "stop a server"),
    _api("GET", "/sessions/{session_id}/corrections", OWNER_OR_MANAGERS, "how it was corrected"),
    _api("POST", "/sessions/{session_id}/corrections", ADMINISTRATORS, "correct what it charges"),
    _api("POST", "/sessions/authorize", HUB, "may this server start?"),
    _api("POST", "/hub/queue", HUB, "where those who wait are in the queue"),
    _api("POST", "/events", HUB, "what happened to sessions"),
    _api("POST", "/hub/logins", HUB, "a login or refresh"),
    _api("POST", "/hub/refusals", HUB, "a refused login"),
    _api("GET", "/hub/local-accounts", HUB, "password hashes of local accounts"),
    _api("GET", "/hub/people/{username}/start-options", HUB, "the start page of a person"),
    _api("GET", "/users", ADMINISTRATORS, "all people"),
    _api("POST", "/users", ADMINISTRATORS, "add a local account"),
    _api("GET", "/users/{username}", OWNER, "a person; here the member"),
    _api("POST", "/users/{username}/disable", ADMINISTRATORS, "disable a person"),
    _api("POST", "/users/{username}/enable", ADMINISTRATORS, "enable a person"),
    _api("POST", "/users/{username}/forget", ADMINISTRATORS, "forget a person for good"),
    _api("PUT", "/users/{username}/password", ADMINISTRATORS, "set a password"),
    _api("GET", "/groups", OWN, "one's own groups; administrators: all"),
    _api("POST", "/groups", ADMINISTRATORS, "add a group"),
    _api("GET", "/groups/{group}", MEMBERS, "a group with its members"),
    _api(
        "PUT",
        "/groups/{group}/members/{username}",
        MANAGERS,
        "add a member or manager; PIs only administrators",
    ),
    _api(
        "DELETE",
        "/groups/{group}/members/{username}",
        MANAGERS,
        "remove a member or manager; PIs only administrators",
    ),
    _api("GET", "/allocations?group", MEMBERS, "a group's allocations"),
    _api("GET", "/allocations", OWN, "allocations of one's groups; administrators: all"),
    _api("GET", "/allocations/{allocation_id}", MEMBERS, "an allocation, and why it is that"),
    _api("POST", "/allocations", ADMINISTRATORS, "grant an allocation"),
    _api(
        "POST", "/allocations/{allocation_id}/adjustments", ADMINISTRATORS, "change an allocation"
    ),
    _api("GET", "/requests", OWN, "requests for more; administrators: all"),
    _api("GET", "/requests?group", MEMBERS, "a group's; members see only their own"),
    _api("POST", "/requests", MEMBERS, "ask for more"),
    _api("GET", "/requests/{request_id}", OWNER_OR_MANAGERS, "a request; here the member's"),
    _api("POST", "/requests/{request_id}/grant", ADMINISTRATORS, "grant it"),
    _api("POST", "/requests/{request_id}/decline", ADMINISTRATORS, "decline it"),
    _api("POST", "/requests/{request_id}/grant?own", PIS, "grant a member a higher limit"),
    _api("POST", "/requests/{request_id}/decline?own", PIS, "decline it"),
    _api("POST", "/requests/{request_id}/withdraw", OWNER_ALONE, "take one's own back"),
    _api("GET", "/series?group", MEMBERS, "a group's recurring allocations"),
    _api("GET", "/series", OWN, "recurring allocations of one's groups; administrators: all"),
    _api("POST", "/series", ADMINISTRATORS, "grant a recurring allocation"),
    _api("POST", "/series/{series_id}/end", ADMINISTRATORS, "end a recurring allocation"),
    _api("GET", "/groups/{group}/balances", MEMBERS, "what a group has left of each resource"),
    _api("GET", "/groups/{group}/limits", MEMBERS, "members' limits; of members only their own"),
    _api("GET", "/groups/{group}/limits/history", MEMBERS, "limits there ever were; likewise"),
    _api("PUT", "/groups/{group}/limits/{username}", PIS, "set or lift a member's limit"),
    _api("GET", "/cores", ADMINISTRATORS, "cores in use, and who waits for them"),
    _api("GET", "/cores/limits", ADMINISTRATORS, "why the site's limit is what it is"),
    _api("GET", "/cores/limits?group", MEMBERS, "why a group's limit is what it is"),
    _api("POST", "/cores/limits", ADMINISTRATORS, "how many cores may run at once"),
    _api("GET", "/groups/{group}/cores", MEMBERS, "cores that a group uses at once"),
    _api("GET", "/storage", OWN, "one's home and groups' folders; administrators: all"),
    _api("GET", "/storage?user", OWNER, "what a person's home holds"),
    _api("GET", "/storage?group", MEMBERS, "what a group's folder holds"),
    _api("GET", "/storage/history", OWN, "what one's home held"),
    _api("GET", "/storage/history?user", OWNER, "what a person's home held"),
    _api("GET", "/storage/history?group", MEMBERS, "what a group's folder held"),
    _api("POST", "/storage/me/resample", OWN, "measure one's home anew"),
    _api("GET", "/storage/limits", OWN, "why one's limit is what it is"),
    _api("GET", "/storage/limits?group", MEMBERS, "why a group's limit is what it is"),
    _api("POST", "/storage/limits", ADMINISTRATORS, "set what a home or folder may hold"),
    _api("GET", "/reports/{quarter_name}", ADMINISTRATORS, "figures of the funder's report"),
    _api("GET", "/exports", ADMINISTRATORS, "what was exported to accounting systems"),
    _api("GET", "/exports/differences", ADMINISTRATORS, "what of it is known otherwise by now"),
    _api("GET", "/audit", ADMINISTRATORS, "the audit log"),
    _api("GET", "/audit?group", MANAGERS, "the audit log of a group"),
)


def _page(method: str, path: str, callers: frozenset[Caller], what: str) -> Access:
    return Access(method, path, callers, what)


PEOPLE_MEMBERS = MEMBERS - {C.SERVER}
OWNER_IN_PERSON = OWNER - {C.SERVER}

PORTAL_TABLE = (
    _page("GET", "/login", ALL, "signing in, through the hub"),
    _page("GET", "/oauth_callback", ALL, "coming back from the hub"),
    _page("GET", "/logout", ALL, "signing out, here and at the hub"),
    _page("GET", "/static/{digest}/{name}", ALL, "styles and scripts"),
    _page("GET", "", ALL, "leads to the first page"),
    _page("GET", "/", REGISTERED, "*My usage*"),
    _page("GET", "/plots/days.json", REGISTERED, "its plot"),
    _page("GET", "/usage.{form}", REGISTERED, "one's own usage as CSV or Parquet"),
    _page("GET", "/sessions.{form}", REGISTERED, "one's own sessions as CSV or Parquet"),
    _page("GET", "/sessions/{session_id}", OWNER_OR_MANAGERS - {C.SERVER}, "one session"),
    _page(
        "POST", "/sessions/{session_id}/corrections", ADMINISTRATORS, "correct what it is charged"
    ),
    _page("GET", "/storage", REGISTERED, "one's own home"),
    _page("GET", "/storage/plot.json", REGISTERED, "its plot"),
    _page("GET", "/storage.{form}", REGISTERED, "its history as CSV or Parquet"),
    _page("GET", "/sessions/{session_id}/stop", OWNER_IN_PERSON, "asks before stopping"),
    _page("POST", "/sessions/{session_id}/stop", OWNER_IN_PERSON, "stop a server"),
    _page("GET", "/my-data.zip", REGISTERED, "all that is held about oneself"),
    _page("GET", "/password", REGISTERED, "one's own password"),
    _page("POST", "/password", REGISTERED, "change it (local accounts)"),
    _page("GET", "/notices", REGISTERED, "*Notices*"),
    _page("POST", "/notices/read", REGISTERED, "mark all as read"),
    _page("POST", "/notices/{notice_id}/read", frozenset({C.MEMBER}), "mark one's own as read"),
    _page("POST", "/notices/preferences", REGISTERED, "choose how one is told"),
    _page("GET", "/groups", REGISTERED, "one's own groups"),
    _page("GET", "/groups/{slug}", PEOPLE_MEMBERS, "*Group*"),
    _page("GET", "/groups/{slug}/plots/days.json", PEOPLE_MEMBERS, "its plot"),
    _page(
        "GET",
        "/groups/{slug}/usage.{form}",
        PEOPLE_MEMBERS,
        "its usage; of members theirs",
    ),
    _page(
        "GET", "/groups/{slug}/sessions.{form}", PEOPLE_MEMBERS, "its sessions; of members theirs"
    ),
    _page("GET", "/groups/{slug}/members", PEOPLE_MEMBERS, "its members; managers: what each used"),
    _page("POST", "/groups/{slug}/members", MANAGERS, "add a member or manager"),
    _page("GET", "/groups/{slug}/members/{username}", MANAGERS, "a member, with use and limit"),
    _page("POST", "/groups/{slug}/members/{username}/limit", PIS, "set or lift a member's limit"),
    _page("GET", "/groups/{slug}/edit", PIS, "title and description"),
    _page("POST", "/groups/{slug}/edit", PIS, "change them"),
    _page("GET", "/groups/{slug}/storage", PEOPLE_MEMBERS, "its folder"),
    _page("GET", "/groups/{slug}/storage/plot.json", PEOPLE_MEMBERS, "its plot"),
    _page("GET", "/groups/{slug}/storage.{form}", PEOPLE_MEMBERS, "its history as CSV or Parquet"),
    _page("POST", "/groups/{slug}/storage/limit", ADMINISTRATORS, "how many files it may hold"),
    _page("GET", "/groups/{slug}/members/{username}/remove", MANAGERS, "asks before removing"),
    _page("POST", "/groups/{slug}/members/{username}/remove", MANAGERS, "remove a member"),
    _page(
        "GET", "/groups/{slug}/sessions", PEOPLE_MEMBERS, "its sessions; members see only theirs"
    ),
    _page("GET", "/groups/{slug}/allocations", PEOPLE_MEMBERS, "its allocations and why"),
    _page("GET", "/groups/{slug}/history", MANAGERS, "memberships and changes there ever were"),
    _page("POST", "/groups/{slug}/allocations", ADMINISTRATORS, "grant an allocation"),
    _page("POST", "/groups/{slug}/cores", ADMINISTRATORS, "how many cores it may use at once"),
    _page("POST", "/groups/{slug}/series", ADMINISTRATORS, "grant a recurring allocation"),
    _page("POST", "/groups/{slug}/series/{series_id}/end", ADMINISTRATORS, "end one"),
    _page(
        "POST",
        "/groups/{slug}/allocations/{allocation_id}/adjustments",
        ADMINISTRATORS,
        "change an allocation",
    ),
    _page("GET", "/groups/{slug}/requests", PEOPLE_MEMBERS, "requests for more"),
    _page("POST", "/groups/{slug}/requests", PEOPLE_MEMBERS, "ask for more"),
    _page(
        "POST",
        "/groups/{slug}/requests/{request_id}/withdraw",
        frozenset({C.MEMBER}),
        "take one's own request back",
    ),
    _page("GET", "/admin", ADMINISTRATORS, "*Administration*"),
    _page("GET", "/admin/usage", ADMINISTRATORS, "usage of the service"),
    _page("GET", "/admin/plots/usage.json", ADMINISTRATORS, "its plot"),
    _page("GET", "/admin/usage.{form}", ADMINISTRATORS, "usage of the service as CSV or Parquet"),
    _page("GET", "/admin/sessions.{form}", ADMINISTRATORS, "all sessions as CSV or Parquet"),
    _page("GET", "/admin/reports", ADMINISTRATORS, "quarters to report on, exports"),
    _page("GET", "/admin/report", ADMINISTRATORS, "the funder's report of a quarter"),
    _page("GET", "/admin/storage", ADMINISTRATORS, "storage of all homes or group folders"),
    _page("GET", "/admin/storage.{form}", ADMINISTRATORS, "the same as CSV or Parquet"),
    _page("GET", "/admin/groups", ADMINISTRATORS, "all groups"),
    _page("POST", "/admin/groups", ADMINISTRATORS, "add a group"),
    _page("POST", "/groups/{slug}/requests/{request_id}/grant", PIS, "grant a higher limit"),
    _page("POST", "/groups/{slug}/requests/{request_id}/decline", PIS, "decline it"),
    _page("GET", "/admin/requests", ADMINISTRATORS, "requests for more"),
    _page("POST", "/admin/requests/{request_id}/grant", ADMINISTRATORS, "grant one"),
    _page("POST", "/admin/requests/{request_id}/decline", ADMINISTRATORS, "decline one"),
    _page("GET", "/admin/servers", ADMINISTRATORS, "running servers, and those that wait"),
    _page("POST", "/admin/servers", ADMINISTRATORS, "how many cores the site may use at once"),
    _page("GET", "/admin/audit", ADMINISTRATORS, "the audit log"),
    _page("GET", "/admin/people", ADMINISTRATORS, "all people"),
    _page("POST", "/admin/people", ADMINISTRATORS, "add a local account"),
    _page("GET", "/admin/people/{username}", ADMINISTRATORS, "a person"),
    _page("GET", "/admin/people/{username}/plots/days.json", ADMINISTRATORS, "their plot"),
    _page("GET", "/admin/people/{username}/usage.{form}", ADMINISTRATORS, "their usage as a file"),
    _page(
        "GET",
        "/admin/people/{username}/sessions.{form}",
        ADMINISTRATORS,
        "their sessions",
    ),
    _page("POST", "/admin/people/{username}/storage-limit", ADMINISTRATORS, "limit their home"),
    _page("POST", "/admin/people/{username}/disable", ADMINISTRATORS, "disable a person"),
    _page("POST", "/admin/people/{username}/enable", ADMINISTRATORS, "enable a person"),
    _page("POST", "/admin/people/{username}/forget", ADMINISTRATORS, "forget a person for good"),
    _page("POST", "/admin/people/{username}/password", ADMINISTRATORS, "set a password"),
)
OTHER_TABLE = (
    Access("GET", "/metrics", ADMINISTRATORS, "figures, also with the token of Prometheus"),
)
TABLE = API_TABLE + PORTAL_TABLE + OTHER_TABLE

_INTRODUCTION = """\
# Who may call what

Generated from `dachub.server.access`, which the tests hold against every route: a call that the
table does not allow is refused, and a route that it does not know fails the tests. Group, session
and person in an address are the member's: *member*, *manager* and *PI* are those of that group.

- Nobody known (*anyone*) gets 401, or in a browser the page to sign in.
- A *disabled person* is refused from the request after the disabling on, whatever they were.
- A *server's* token (of a notebook, say) acts for its person, and never administers, whoever that
  is. So does a person's own token that was given less than everything.
- What somebody may not even know of is answered 404, the rest 403.
"""


def page() -> str:
    """The table as a page of the documentation."""
    return (
        f"{_INTRODUCTION}\n## REST (`/services/dac/api/v1`)\n{_markdown(API_TABLE, '/api/v1')}"
        f"\n## Portal (`/services/dac`)\n{_markdown(PORTAL_TABLE, '')}"
        f"\n## Others (`/services/dac`)\n{_markdown(OTHER_TABLE, '')}"
    )


def _markdown(table: tuple[Access, ...], prefix: str) -> str:
    lines = [
        "| call | what | " + " | ".join(Caller) + " |",
        "|---|---|" + ":-:|" * len(Caller),
    ]
    for access in table:
        marks = " | ".join("yes" if caller in access.callers else "" for caller in Caller)
        call = f"{access.method} {access.path.removeprefix(prefix) or '/services/dac'}"
        lines.append(f"| `{call}` | {access.what} | {marks} |")
    return "\n".join(lines) + "\n"
