"""The directory's rules."""

from dachub.directory.services.accounts import LocalAccountService
from dachub.directory.services.audit import AuditService
from dachub.directory.services.groups import GroupService
from dachub.directory.services.logins import LoginService
from dachub.directory.services.people import PeopleService
from dachub.directory.services.pseudonyms import PseudonymService
from dachub.directory.services.wiring import Directory

__all__ = [
    "AuditService",
    "Directory",
    "GroupService",
    "LocalAccountService",
    "LoginService",
    "PeopleService",
    "PseudonymService",
]
