"""Where programs of a rescue session write instead of a home in which nothing can be written."""

from __future__ import annotations

from pathlib import PurePath, PurePosixPath

PLACES = {
    "TMPDIR": "tmp",
    "JUPYTER_RUNTIME_DIR": "runtime",
    "JUPYTER_DATA_DIR": "jupyter-data",
    # Not the person's own: what is wrong in theirs is not to keep this session from starting.
    "JUPYTER_CONFIG_DIR": "jupyter-config",
    "IPYTHONDIR": "ipython",
    "MPLCONFIGDIR": "matplotlib",
    "XDG_CACHE_HOME": "cache",
    "XDG_CONFIG_HOME": "config",
    "XDG_DATA_HOME": "data",
    "XDG_STATE_HOME": "state",
    "XDG_RUNTIME_DIR": "xdg-runtime",
}
"""Variables, and the place below the scratch directory that each names."""
SCRATCH = PurePosixPath("/tmp/dachub")  # noqa: S108  in a pod of its own


def scratch_variables(inner: PurePath) -> dict[str, str]:
    """Variables that send programs to the places below ``inner``."""
    return {
        **{variable: str(inner / name) for variable, name in PLACES.items()},
        "DACHUB_SCRATCH": str(inner),
        "HISTFILE": str(inner / PLACES["TMPDIR"] / "bash-history"),
        "PYTHONDONTWRITEBYTECODE": "1",
        # Packages in the home may be what is half written.
        "PYTHONNOUSERSITE": "1",
    }
