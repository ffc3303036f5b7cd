"""``dachub group``: groups (scientific campaigns) and their members."""

from __future__ import annotations

from typing import Annotated

import typer

from dachub.cli.options import DataOption, JsonOption
from dachub.cli.output import Columns, print_list, print_one
from dachub.cli.platform import group_slug, operate
from dachub.model.people import Group, MembershipRecord, Role

app = typer.Typer(help="Groups and their members.", no_args_is_help=True)
Slug = Annotated[str, typer.Argument(metavar="GROUP", help="The group's short name.")]
Username = Annotated[str, typer.Argument(help="The person's username.")]

LIST: Columns[Group] = {
    "group": lambda group: group.slug,
    "title": lambda group: group.title,
    "PIs": lambda group: group.pis,
    "at the provider": lambda group: group.provider_name,
    "since": lambda group: group.created_at,
}
DETAILS: Columns[Group] = {
    **LIST,
    "description": lambda group: group.description,
    "members": lambda group: [f"{member.username} ({member.role})" for member in group.members],
}
MEMBERS: Columns[MembershipRecord] = {
    "username": lambda member: member.username,
    "full name": lambda member: member.full_name,
    "role": lambda member: member.role,
    "source": lambda member: member.source,
    "since": lambda member: member.valid_from,
    "until": lambda member: member.valid_to,
}


@app.command("add")
def add(
    slug: Slug,
    title: Annotated[str, typer.Option("--title", help="Title.")] = "",
    description: Annotated[str, typer.Option("--description", help="Description.")] = "",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add a group."""
    checked = group_slug(slug)
    group = operate(
        data, lambda factory, by: factory.groups().create(by, checked, title, description)
    )
    print_one(group, DETAILS, as_json=as_json)


@app.command("list")
def list_groups(data: DataOption = None, as_json: JsonOption = False) -> None:
    """List groups."""
    groups = operate(data, lambda factory, by: factory.groups().list(by))
    print_list(groups, LIST, as_json=as_json)


@app.command("show")
def show(slug: Slug, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Show a group with its members."""
    group = operate(data, lambda factory, by: factory.groups().show(by, slug))
    print_one(group, DETAILS, as_json=as_json)


@app.command("members")
def members(
    slug: Slug,
    history: Annotated[bool, typer.Option("--history", help="Former memberships too.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the members of a group."""
    if history:
        records = operate(data, lambda factory, by: factory.groups().history(by, slug))
    else:
        records = operate(data, lambda factory, by: factory.groups().show(by, slug)).members
    print_list(records, MEMBERS, as_json=as_json)


@app.command("add-member")
def add_member(
    slug: Slug,
    username: Username,
    role: Annotated[Role, typer.Option("--role", help="What they may do.")] = Role.MEMBER,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a person a member, or give a member another role."""
    record = operate(
        data, lambda factory, by: factory.groups().put_member(by, slug, username, role)
    )
    print_one(record, MEMBERS, as_json=as_json)


@app.command("remove-member")
def remove_member(slug: Slug, username: Username, data: DataOption = None) -> None:
    """End a local membership."""
    operate(data, lambda factory, by: factory.groups().remove_member(by, slug, username))
    typer.echo(f"{username} is no longer a local member of {slug}.")


@app.command("set-pi")
def set_pi(
    slug: Slug, username: Username, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Make a person PI of a group; a group may have several."""
    record = operate(data, lambda factory, by: factory.groups().set_pi(by, slug, username))
    print_one(record, MEMBERS, as_json=as_json)
