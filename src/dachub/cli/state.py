"""``dachub status`` and ``dachub doctor``."""

from __future__ import annotations

import typer

from dachub.cli.options import DataOption, JsonOption
from dachub.cli.output import print_json, print_list, shown
from dachub.cli.platform import database_url, layout_of, settings_of
from dachub.local.doctor import examine
from dachub.local.status import platform_status
from dachub.model.units import spoken_bytes
from dachub.server.status import LeaderStatus

MARKS = {"ok": "ok     ", "warning": "WARNING", "error": "ERROR  "}


def status(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Show what runs, since when, and how far behind anything is; exits with 1 if not running."""
    layout = layout_of(data)
    settings = settings_of(layout)
    found = platform_status(layout, settings, database_url(layout, settings))
    if as_json:
        print_json(found)
    else:
        typer.echo(
            f"dachub in {found.data} is "
            + ("running" if found.running else "NOT running")
            + (f" at {found.public_url}" if found.running and found.public_url else "")
        )
        columns = {
            "part": lambda part: part.name,
            "state": lambda part: part.state.lower(),
            "since (UTC)": lambda part: part.since,
            "process": lambda part: part.pid,
        }
        print_list(found.parts, columns, as_json=False, empty="No part of it runs.")
        size = spoken_bytes(found.database.size_bytes or 0)
        outbox = found.outbox
        facts = {
            "versions": [f"{name} {number}" for name, number in found.versions.items()],
            "database": size if found.database.answers else "does not answer",
            "outbox": f"{outbox.waiting} waiting, {outbox.refused} refused" if outbox else None,
            "people": found.people,
            "running sessions": found.running_sessions,
            "last reconciliation (UTC)": found.reconciled_at,
            "quotas": found.enforcement,
        } | {f"{leader.kind} work": _told(leader) for leader in found.leaders}
        typer.echo("\n".join(f"{name:<26}{shown(value)}" for name, value in facts.items()))
    if not found.running:
        raise typer.Exit(1)


def _told(leader: LeaderStatus) -> str:
    failing = [worker.name for worker in leader.workers if worker.failures]
    silent = f", SILENT since {shown(leader.seen_at)}" if leader.stands_still else ""
    return f"by {leader.replica} since {shown(leader.since)}{silent}, " + (
        f"FAILING: {', '.join(failing)}" if failing else "all well"
    )


def doctor(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Find the common faults and say what to do; exits with 1 if there are errors."""
    findings = list(examine(layout_of(data)))
    if as_json:
        print_json(findings)
    else:
        for finding in findings:
            typer.echo(f"{MARKS[finding.severity]} {finding.text} [{finding.code}]")
    if any(finding.severity == "error" for finding in findings):
        raise typer.Exit(1)
