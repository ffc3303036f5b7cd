"""A small file system of its own, to be filled to the last byte.

``ext4`` in a file where the machine has loop devices, else a tmpfs with a size; only as root.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SIZE_BYTES = 48 * 1024**2


@contextmanager
def small_disk(at: Path) -> Iterator[Path]:
    """Mount it at a directory, which is made; skips where nothing can be mounted."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system to fill")
    at.mkdir(mode=0o755)
    image = at.with_name(f"{at.name}.ext4")
    if not _mount_ext4(image, at) and not _mounted(
        "-t", "tmpfs", "-o", f"size={SIZE_BYTES}", "tmpfs", at
    ):
        pytest.skip("neither a loop device nor a tmpfs can be mounted here")
    try:
        yield at
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)
        image.unlink(missing_ok=True)


def _mount_ext4(image: Path, at: Path) -> bool:
    if shutil.which("mkfs.ext4") is None:
        return False
    with image.open("wb") as file:
        file.truncate(SIZE_BYTES)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
    return _mounted("-o", "loop", image, at)


def _mounted(*arguments: str | Path) -> bool:
    return subprocess.run(["mount", *map(str, arguments)], capture_output=True).returncode == 0


def fill(home: Path, name: str = "survey/images.fits") -> Path:
    """Write as the home's owner until nothing more goes in, not even one small file."""
    file = home / name
    owner = pwd.getpwuid(home.stat().st_uid)
    script = (
        "import os, sys\n"
        "os.makedirs(os.path.dirname(sys.argv[1]), exist_ok=True)\n"
        "for size in (1 << 20, 1 << 12, 1):\n"
        "    with open(sys.argv[1], 'ab', buffering=0) as file:\n"
        "        try:\n"
        "            while True: file.write(bytes(size))\n"
        "        except OSError: pass\n"
    )
    subprocess.run(
        ["/usr/bin/python3", "-I", "-c", script, str(file)],
        check=True,
        user=owner.pw_uid,
        group=owner.pw_gid,
    )
    os.sync()
    return file
