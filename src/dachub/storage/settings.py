"""Settings of measuring and limiting storage."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from dachub.model.settings import Section


class StorageSettings(Section):
    """Homes and group folders: where they are, how they are measured, what they may hold."""

    homes: Path = Field(
        default=Path("homes"),
        description="Directory with a home by username; a relative path counts from this file",
    )
    groups: Path = Field(
        default=Path("groups"),
        description="Directory with a folder by group; a relative path counts from this file",
    )
    group_links: Path = Field(
        default=Path("group-links"),
        description="Directory in which each person finds the folders of their groups; "
        "a relative path counts from this file",
    )
    state: Path = Field(
        default=Path("storage"),
        description="Directory that remembers unfinished walks; on a local disk",
    )
    method: Literal["auto", "walk", "xfs-quota", "ceph", "volumes"] = Field(
        default="auto",
        description="How to measure; auto: as the file system knows itself, else by a walk; "
        "volumes: each home is a volume of its own, which the cluster's machines measure",
    )
    machine_certificates: Path | None = Field(
        default=None,
        description="For volumes: file with what signs the certificates of the machines' kubelets; "
        "the cluster's own certificates when not given",
    )
    every_seconds: int = Field(default=3600, ge=60, description="How often a place is measured")
    files_per_second: int = Field(
        default=1_000_000, ge=100, description="A walk looks at no more files than this a second"
    )
    processes: int = Field(
        default=4,
        ge=1,
        le=64,
        description="A walk uses up to so many processes of low priority, each of which asks the "
        "file system one thing at a time",
    )
    stale_seconds: int = Field(
        default=6 * 3600, ge=60, description="Figures older than this keep nobody from anything"
    )
    resample_seconds: int = Field(
        default=20, ge=1, description="Least time between two measurements that a person asks for"
    )
    warn_at_percent: tuple[int, ...] = Field(
        default=(80, 95), description="Shares of a limit at which people are told"
    )
    home_bytes: int | None = Field(
        default=None, ge=0, description="What a home may hold on disk; null: no limit"
    )
    home_files: int | None = Field(
        default=None, ge=0, description="How many files a home may hold; null: no limit"
    )
    group_bytes: int | None = Field(
        default=None,
        ge=0,
        description="What a group's folder may hold without an allocation of file-bytes in force; "
        "null: no limit",
    )
    group_files: int | None = Field(
        default=None, ge=0, description="How many files a group's folder may hold; null: no limit"
    )
    enforce: bool = Field(
        default=True, description="Set the limits in the file system where it can enforce them"
    )
