"""What a real hub tells Prometheus, and whom it tells."""

from __future__ import annotations

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.harness.fake_service import FakeService
from tests.harness.waiting import until
from tests.hub.running import METRICS_TOKEN, RunningHub

pytestmark = pytest.mark.hub


def ask(hub: RunningHub, token: str | None) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.get(f"{hub.url}/hub/metrics", headers=headers, trust_env=False)


def told(hub: RunningHub) -> dict[str, float]:
    """Figures of the plugin, by their names and labels."""
    answer = ask(hub, METRICS_TOKEN)
    assert answer.status_code == 200
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if sample.name.startswith(("dachub_", "jupyterhub_running"))
    }


def test_only_the_token_of_prometheus_opens_the_figures(hub: RunningHub) -> None:
    assert ask(hub, METRICS_TOKEN).status_code == 200
    for token in (None, "another-token-of-no-one", "hub-token-of-the-test"):
        assert ask(hub, token).status_code == 403
    headers = {"Authorization": f"Bearer {METRICS_TOKEN}"}
    users = httpx.get(f"{hub.url}/hub/api/users", headers=headers, trust_env=False)
    assert users.status_code == 403


def test_starts_are_told_by_how_they_went(hub: RunningHub, service: FakeService) -> None:
    ada = hub.browser()
    ada.sign_in("ada")
    assert ada.spawn(group="coma", size="tiny", environment="astronomy").status_code != 200
    assert ada.spawn(group="virgo", size="tiny", environment="astronomy").status_code == 200
    figures = told(hub)
    assert figures["dachub_starts_total started"] == 1
    assert figures["dachub_starts_total refused"] == 1
    assert figures["dachub_starts_total failed"] == 0
    assert figures["dachub_start_duration_seconds_count"] == 1
    assert figures["jupyterhub_running_servers"] == 1


def test_the_outbox_is_told_while_the_service_is_away(
    hub: RunningHub, service: FakeService
) -> None:
    until(lambda: "dachub_outbox_held" in told(hub), "the outbox was looked at", 30)
    assert told(hub)["dachub_outbox_waiting"] == 0
    ada = hub.browser()
    ada.sign_in("ada")
    service.down = True
    ada.spawn(group="virgo", size="tiny", environment="astronomy")
    figures = until(
        lambda: (now := told(hub))["dachub_outbox_waiting"] >= 2 and now, "events wait", 30
    )
    assert figures["dachub_outbox_oldest_seconds"] > 0
    assert figures["dachub_outbox_held"] == figures["dachub_outbox_refused"] == 0
