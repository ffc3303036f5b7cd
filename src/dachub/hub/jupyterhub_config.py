"""JupyterHub's configuration file: everything is in ``dachub.hub``."""

import dachub.hub

dachub.hub.configure(c)  # type: ignore[name-defined]  # noqa: F821 - JupyterHub provides c
