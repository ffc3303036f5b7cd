"""People, affiliations, groups and memberships, and the audit log of who changed what."""
