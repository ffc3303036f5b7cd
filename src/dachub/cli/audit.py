"""``dachub audit``: who changed what."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from dachub.cli.options import DataOption, GroupOption, JsonOption, LimitOption, UserOption
from dachub.cli.output import Columns, print_list
from dachub.cli.platform import operate
from dachub.model.people import AuditEntry

LIST: Columns[AuditEntry] = {
    "id": lambda entry: entry.audit_id,
    "at": lambda entry: entry.at,
    "actor": lambda entry: entry.actor,
    "action": lambda entry: entry.action,
    "username": lambda entry: entry.username,
    "group": lambda entry: entry.group,
    "details": lambda entry: json.dumps(entry.details, ensure_ascii=False),
}


def audit(
    username: UserOption = None,
    group: GroupOption = None,
    action: Annotated[str | None, typer.Option("--action", help="Only this action.")] = None,
    before: Annotated[int | None, typer.Option("--before", help="Older than this id.")] = None,
    limit: LimitOption = 100,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List who changed what, newest first."""
    entries = operate(
        data,
        lambda factory, by: factory.audit().list(
            by, username=username, group=group, action=action, before=before, limit=limit
        ),
    )
    print_list(entries, LIST, as_json=as_json, empty="No entries.")
