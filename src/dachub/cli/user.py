"""``dachub user``: people and their local accounts."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from dachub.cli.options import DataOption, JsonOption, PasswordStdinOption
from dachub.cli.output import Columns, print_json, print_list, print_one
from dachub.cli.platform import operate
from dachub.directory.models import Principal
from dachub.infra.files import write_private
from dachub.model.people import Person
from dachub.model.problems import InvalidInput
from dachub.privacy.models import ForgettingAsked
from dachub.privacy.services import PersonalData
from dachub.server.factory import Factory

app = typer.Typer(help="People and their local accounts.", no_args_is_help=True)
Username = Annotated[str, typer.Argument(help="The person's username.")]

LIST: Columns[Person] = {
    "username": lambda person: person.username,
    "full name": lambda person: person.full_name,
    "email": lambda person: person.email,
    "groups": lambda person: [membership.group for membership in person.groups],
    "administrator": lambda person: person.administrator,
    "last login": lambda person: person.last_login_at,
    "disabled": lambda person: person.disabled_at,
}
DETAILS: Columns[Person] = {
    "username": lambda person: person.username,
    "full name": lambda person: person.full_name,
    "email": lambda person: person.email,
    "signs in at": lambda person: person.issuer,
    "administrator": lambda person: person.administrator,
    "registered": lambda person: person.created_at,
    "last login": lambda person: person.last_login_at,
    "disabled": lambda person: person.disabled_at,
    "because": lambda person: person.disabled_reason,
    "groups": lambda person: [
        f"{membership.group} ({membership.role}, {membership.source})"
        for membership in person.groups
    ],
    "affiliations": lambda person: [
        f"{affiliation.value} (by {affiliation.asserted_by}, last on "
        f"{affiliation.last_asserted_at:%Y-%m-%d}{', stale' if affiliation.stale else ''})"
        for affiliation in person.affiliations
    ],
}


def read_password(*, from_stdin: bool) -> str:
    """A password from standard input, or typed twice at the terminal."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise InvalidInput("There is no terminal to type a password at: use --password-stdin.")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))


@app.command("add")
def add(
    username: Username,
    full_name: Annotated[str, typer.Option("--full-name", help="Full name.")] = "",
    email: Annotated[str, typer.Option("--email", help="Email address.")] = "",
    administrator: Annotated[
        bool, typer.Option("--administrator", help="May administer the platform.")
    ] = False,
    password_stdin: PasswordStdinOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register a person with a local account."""
    password = read_password(from_stdin=password_stdin)
    person = operate(
        data,
        lambda factory, by: factory.accounts().add(
            by,
            username,
            full_name=full_name,
            email=email,
            administrator=administrator,
            password=password,
        ),
    )
    print_one(person, DETAILS, as_json=as_json)


@app.command("list")
def list_people(
    search: Annotated[
        str, typer.Option("--search", help="Part of a name, address or affiliation.")
    ] = "",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List people."""
    people = operate(data, lambda factory, by: factory.people().list(by, search=search))
    print_list(people, LIST, as_json=as_json)


@app.command("show")
def show(username: Username, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Show a person with groups and affiliations."""
    person = operate(data, lambda factory, by: factory.people().show(by, username))
    print_one(person, DETAILS, as_json=as_json)


@app.command("disable")
def disable(
    username: Username,
    reason: Annotated[str, typer.Option("--reason", help="Shown to the person.")],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Refuse a person everything at once; their servers are stopped."""
    person = operate(data, lambda factory, by: factory.people().disable(by, username, reason))
    print_one(person, DETAILS, as_json=as_json)


@app.command("enable")
def enable(username: Username, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Let a disabled person in again."""
    person = operate(data, lambda factory, by: factory.people().enable(by, username))
    print_one(person, DETAILS, as_json=as_json)


@app.command("export-data")
def export_data(
    username: Username,
    output: Annotated[Path, typer.Option("--output", help="ZIP archive to write (mode 0600).")],
    data: DataOption = None,
) -> None:
    """Write everything that is held about a person into an archive, for them to have."""

    async def collect(factory: Factory, by: Principal) -> PersonalData:
        return await factory.personal_data().of(by, username, factory.settings.site.name)

    found = operate(data, collect)
    try:
        write_private(output, found.as_zip())
    except OSError as error:
        raise InvalidInput(f"{output} cannot be written ({error.strerror}).") from error
    typer.echo(f"{output} holds what is kept of {username}: {len(found.tables)} tables.")


@app.command("forget")
def forget(
    username: Username,
    reason: Annotated[
        str, typer.Option("--reason", help="Kept in the audit log: without the name.")
    ],
    delete_home: Annotated[
        bool, typer.Option("--delete-home", help="Delete the home directory too.")
    ] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Forget a person for good: what they used stays, under a pseudonym."""
    asked = operate(
        data,
        lambda factory, by: factory.forgetting().ask(by, username, reason, delete_home=delete_home),
    )
    if as_json:
        print_json(asked)
        return
    typer.echo(
        f"{username} is disabled, and forgotten as soon as nothing of theirs runs: with the "
        "platform up within a minute. What this does not reach:"
    )
    for left in out_of_reach(asked):
        typer.echo(f"  - {left}")


def out_of_reach(asked: ForgettingAsked) -> Iterator[str]:
    """What of a person stays, for the operator to know."""
    if not asked.delete_home:
        yield "the home directory: it is left as it is (--delete-home would delete it)"
    yield "files in folders of groups, and the Unix account that owns them"
    yield "backups that were made before"
    for form, count in sorted(asked.sent.items()):
        yield f"{count} records that were sent as {form}: they cannot be called back"


@app.command("password")
def password(
    username: Username, password_stdin: PasswordStdinOption = False, data: DataOption = None
) -> None:
    """Set the password of a local account."""
    new = read_password(from_stdin=password_stdin)
    operate(data, lambda factory, by: factory.accounts().set_password(by, username, new))
    typer.echo(f"The password of {username} was set.")
