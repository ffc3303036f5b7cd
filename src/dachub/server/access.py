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
EVERYBODY = frozenset(C) - {C.DISABLED}
REGISTERED = frozenset({C.PERSON, C.MEMBER, C.MANAGER, C.PI, C.ADMINISTRATOR})
OWN = REGISTERED | {C.SERVER, C.ADMINISTRATORS_SERVER}
MEMBERS = frozenset({C.MEMBER, C.MANAGER, C.PI, C.ADMINISTRATOR, C.SERVER})
MANAGERS = frozenset({C.MANAGER, C.PI, C.ADMINISTRATOR})
ADMINISTRATORS = frozenset({C.ADMINISTRATOR})
OWNER = frozenset({C.MEMBER, C.SERVER, C.ADMINISTRATOR})
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
    _api("GET", "/health", EVERYBODY | {C.DISABLED}, "whether the service works"),
    _api("GET", "/openapi.json", EVERYBODY | {C.DISABLED}, "the API's description"),
    _api("GET", "/status", ADMINISTRATORS, "versions, database, workers"),
    _api("GET", "/me", OWN, "oneself"),
    _api("GET", "/me/start-options", OWN, "what one's groups have left"),
    _api("PUT", "/me/password", REGISTERED, "one's own password (local accounts)"),
    _api("GET", "/usage", OWN, "one's own usage"),
    _api("GET", "/usage?group", MANAGERS | {C.MEMBER, C.SERVER}, "a group's usage; of members only their own part"),
    _api("GET", "/usage?user", OWNER, "a person's usage"),
    _api("GET", "/sessions", OWN, "one's own sessions"),
    _api("GET", "/sessions?group", MANAGERS | {C.MEMBER, C.SERVER}, "a group's sessions; members see only theirs"),
    _api("GET", "/sessions?user", OWNER, "a person's sessions"),
    _api("GET", "/sessions/{session_id}", OWNER_OR_MANAGERS, "one session"),
    _api("POST", "/sessions/{session_id}/stop", OWNER, "stop a server"),
    _api("POST", "/sessions/authorize", HUB, "may this server start?"),
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
    _api("PUT", "/users/{username}/password", ADMINISTRATORS, "set a password"),
    _api("GET", "/groups", OWN, "one's own groups; administrators: all"),
    _api("POST", "/groups", ADMINISTRATORS, "add a group"),
    _api("GET", "/groups/{group}", MEMBERS, "a group with its members"),
    _api("PUT", "/groups/{group}/members/{username}", MANAGERS, "add a member or manager; PIs only administrators"),
    _api("DELETE", "/groups/{group}/members/{username}", MANAGERS, "remove a member or manager; PIs only administrators"),
    _api("GET", "/allocations?group", MEMBERS, "a group's allocations"),
    _api("GET", "/allocations", OWN, "allocations of one's groups; administrators: all"),
    _api("POST", "/allocations", ADMINISTRATORS, "grant an allocation"),
    _api("POST", "/allocations/{allocation_id}/adjustments", ADMINISTRATORS, "change an allocation"),
    _api("GET", "/audit", ADMINISTRATORS, "the audit log"),
    _api("GET", "/audit?group", MANAGERS, "the audit log of a group"),
)
