"""The audit log in words: what was done, said after the name of who did it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from dachub.model.allocations import Recurrence
from dachub.model.people import AuditEntry
from dachub.model.units import cores, spoken_bytes
from dachub.model.usage import Resource
from dachub.server.portal.formats import EVERY, first_day, last_day, quantity

SENTENCES = {
    "login": "let {person} sign in",
    "login-refused": "refused {person} at sign-in ({code})",
    "user-registered": "registered {person} at the first sign-in",
    "user-added": "made a local account for {person}",
    "user-disabled": "disabled {person}",
    "user-enabled": "enabled {person} again",
    "user-forgotten": "had somebody forgotten, who is called {person} from then on",
    "forgetting-asked": "asked to have {person} forgotten",
    "data-exported": "took out what is kept about {person}",
    "password-set": "set a new password for {person}",
    "password-changed": "chose a new password",
    "password-change-refused": "gave a wrong password when choosing a new one",
    "group-added": "made the group {group}",
    "group-described": "changed the title or the description of {group}",
    "member-added": "made {person} {role} of {group}",
    "role-changed": "made {person}, {old_role} until then, {role} of {group}",
    "member-removed": "ended the membership of {person} in {group}",
    "allocation-created": "gave {group} {amount}, {first} to {last}",
    "allocation-adjusted": "changed an allocation of {group}{change}",
    "series-added": "gave {group} {amount} every {every}",
    "series-ended": "ended a recurring allocation of {group}",
    "limit-set": "limited {person} to {amount} in each period of {group}",
    "limit-lifted": "lifted the limit of {person} in {group}",
    "request-made": "asked for {amount} more for {whom}",
    "request-granted": "granted {granted} more for {whom}",
    "request-declined": "declined what {person} asked for {whom}",
    "request-withdrawn": "took back a request for {whom}",
    "start-refused": "could not start a server on {group}",
    "stop-requested": "had a server of {person} on {group} stopped",
    "maintenance-announced": "has a server of {person} on {group} stopped, for its machine's sake",
    "maintenance-withdrawn": "lets a server of {person} on {group} go on; its machine stays",
    "quota-warned": "told {whom} that {used} of {allowed} are used",
    "quota-grace": "began the grace of {whom}: {used} of {allowed} are used",
    "quota-closed": "refuses new servers of {whom}: {used} of {allowed} are used",
    "quota-stopping": "stops the servers of {whom}: {used} of {allowed} are used",
    "quota-reopened": "lets {whom} start servers again: {used} of {allowed} are used",
    "session-voided": "decided that a session of {person} on {group} is charged nothing",
    "session-amended": "corrected the start or end of a session of {person} on {group}",
    "session-restored": "took back the correction of a session of {person} on {group}",
    "core-limit-set": "let {whole} run {cores} at once",
    "core-limit-lifted": "lets {whole} run as many cores at once as configured",
    "storage-limit-set": "let {place} hold {space}",
    "exported": "exported {records} records ({format})",
    "clock-trusted": "said that the clock is right",
}
"""Action -> what was done, with words of :class:`_Words`."""

ACTORS = {"hub": "the hub", "service": "dachub", "operator": "operator"}


@dataclass(frozen=True, slots=True)
class Said:
    """An entry in words.

    Attributes
    ----------
    why
        The reason given, or what the person was told; may be empty.
    """

    what: str
    why: str


def said(entry: AuditEntry) -> Said:
    """An entry of the audit log for people; one of an unknown kind by its name."""
    try:
        what = SENTENCES[entry.action].format_map(_Words(entry))
    except (KeyError, ValueError, ArithmeticError):  # kept by another version, or forgotten since
        what = entry.action.replace("-", " ")
    why = entry.details.get("reason") or entry.details.get("message") or ""
    return Said(what, str(why))


def actor(name: str) -> str:
    """Who did something: people by their username, what is no person by what it is."""
    kind, _, which = name.partition(":")
    if kind not in ACTORS or (kind == "hub" and which):
        return name
    return f"{which} ({ACTORS[kind]})" if kind == "operator" and which else ACTORS[kind]


class _Words:
    """What the sentences speak of, made of an entry's details when it is asked for."""

    def __init__(self, entry: AuditEntry) -> None:
        self._entry = entry
        self._details = entry.details

    def __getitem__(self, word: str) -> str:
        made = getattr(self, f"_{word}", None)
        return str(self._details[word]) if made is None else made()

    def _person(self) -> str:
        return self._entry.username or "somebody"

    def _group(self) -> str:
        return self._entry.group or "a group"

    def _whom(self) -> str:
        """The group, or the one person in it whom it is about."""
        of_quota = self._entry.action.startswith("quota-")
        person = self._entry.username if of_quota else self._details.get("person")
        return f"{person} in {self._group()}" if person else self._group()

    def _place(self) -> str:
        if self._entry.group:
            return f"the folder of {self._entry.group}"
        return f"the home of {self._person()}"

    def _whole(self) -> str:
        return self._entry.group or "the site"

    def _cores(self) -> str:
        return cores(int(str(self._details["milli_cores"])))

    def _role(self) -> str:
        return _role(self._details["role"])

    def _old_role(self) -> str:
        return _role(self._details["old_role"])

    def _amount(self) -> str:
        return self._in_units("amount")

    def _granted(self) -> str:
        return quantity(int(str(self._details["granted"])), self._resource())

    def _used(self) -> str:
        return quantity(int(str(self._details["used"])), self._resource())

    def _allowed(self) -> str:
        return quantity(int(str(self._details["allowed"])), self._resource())

    def _first(self) -> str:
        return first_day(_moment(self._details["starts_at"]))

    def _last(self) -> str:
        return last_day(_moment(self._details["ends_at"]))

    def _every(self) -> str:
        return EVERY[Recurrence(str(self._details["every"]))]

    def _change(self) -> str:
        changes = []
        if "amount" in self._details:
            by = self._in_units("amount")
            changes.append(by if by.startswith("-") else f"+{by}")
        if "ends_at" in self._details:
            changes.append(f"it ends with {self._last()}")
        if "policy" in self._details:
            changes.append("what happens as it is spent")
        return f": {', '.join(changes)}" if changes else ""

    def _space(self) -> str:
        held, files = self._details.get("bytes"), self._details.get("files")
        limits = [] if held is None else [spoken_bytes(int(str(held)))]
        limits += [] if files is None else [f"{int(str(files)):,} files"]
        return " and ".join(limits) or "what the site lets all hold"

    def _resource(self) -> Resource:
        return Resource(str(self._details["resource"]))

    def _in_units(self, word: str) -> str:
        """An amount that was said in core-hours and the like."""
        resource = self._resource()
        return quantity(int(Decimal(str(self._details[word])) * resource.base_units), resource)


def _role(value: object) -> str:
    return "PI" if value == "pi" else str(value)


def _moment(value: object) -> datetime:
    return datetime.fromisoformat(str(value))
