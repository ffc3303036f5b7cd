"""Tells people that somebody changed their place in a group."""

from __future__ import annotations

from dachub.directory.models import MembershipChange
from dachub.model.names import mention
from dachub.model.notices import NoticeKind, Severity
from dachub.model.people import Role
from dachub.notices.services.notices import NoticeService

ROLES = {Role.MEMBER: "a member", Role.MANAGER: "a manager", Role.PI: "PI"}
RIGHTS = {
    Role.MEMBER: "You can start servers on it; what they use is charged to the group.",
    Role.MANAGER: "You can add and remove members, and you see what everybody used.",
    Role.PI: "You answer for it: you see what everybody used, and change members and limits.",
}


class MembershipNotices:
    """A listener of the directory; what people do themselves they are not told."""

    def __init__(self, notices: NoticeService) -> None:
        self._notices = notices

    async def __call__(self, change: MembershipChange) -> None:
        """Give the notice of one change."""
        if change.username == change.by:
            return
        if change.role is None:
            title = f"You no longer belong to {change.title}"
            text = (
                f"{mention(change.by)} ended your membership of the group '{change.group}'. What "
                "you have running on it is stopped after a notice; your files stay."
            )
        else:
            title = f"You are now {ROLES[change.role]} of {change.title}"
            text = (
                f"{mention(change.by)} entered you in the group '{change.group}'. "
                f"{RIGHTS[change.role]}"
            )
        role = change.role.value if change.role else "none"
        await self._notices.give(
            [change.username],
            key=f"membership/{change.group}/{role}/{change.at.isoformat()}",
            kind=NoticeKind.GROUP,
            severity=Severity.INFO if change.role else Severity.WARNING,
            title=title,
            text=text,
            group=change.group,
            path=f"groups/{change.group}" if change.role else "groups",
        )
