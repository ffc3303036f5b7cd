"""What we mix into KubeSpawner takes no name of its own: it calls its methods by their names."""

from __future__ import annotations

import pytest
from jupyterhub.spawner import LocalProcessSpawner
from kubespawner import KubeSpawner

from dachub.hub.cluster.pods import Pod
from dachub.hub.sessions import SessionMixin

MEANT = {
    *("start", "stop", "poll", "progress", "run_post_stop_hook"),
    *("get_env", "get_state", "load_state", "clear_state", "_start_reflector"),
}
"""What is overridden on purpose, and calls what it overrides."""


@pytest.mark.parametrize("base", [KubeSpawner, LocalProcessSpawner])
@pytest.mark.parametrize("ours", [SessionMixin, Pod])
def test_no_name_of_a_spawner_is_taken_by_chance(ours: type, base: type) -> None:
    names = {
        name
        for name, value in vars(ours).items()
        if (callable(value) or isinstance(value, property)) and not name.startswith("__")
    }
    assert names & set(dir(base)) <= MEANT
