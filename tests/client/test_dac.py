"""What a person gets in a notebook."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pandas as pd
import pytest
from tests.client.conftest import HUGE, SESSION_ID, START, TOKEN, Service

from dachub import DAC
from dachub.client import BadRequest, NotInASession
from dachub.model.storage import Folder, StorageArea, StorageMethod, StorageSample, StorageUse


def test_in_a_server_nothing_need_be_given(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DACHUB_API_URL", f"{url}/services/dac/api/v1")
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", TOKEN)
    assert DAC().me.username == "ada"


@pytest.mark.parametrize("suffix", ["", "/", "/hub", "/hub/", "/services/dac/api/v1/"])
def test_any_address_of_the_platform_will_do(url: str, suffix: str) -> None:
    assert DAC(url + suffix, TOKEN).me.username == "ada"


def test_me_shows_name_groups_and_stale_affiliations(dac: DAC) -> None:
    me = dac.me
    assert "ztf (pi)" in repr(me)
    assert "member@example.org (last asserted 2026-11-01, stale)" in repr(me)
    assert "Ada &lt;b&gt;Lovelace&lt;/b&gt; (ada)" in me._repr_html_()
    assert "<b>Lovelace" not in me._repr_html_()


def test_usage_is_a_table_of_hours_and_exact_integers(dac: DAC) -> None:
    usage = dac.usage()
    assert isinstance(usage, pd.DataFrame)
    assert list(usage.columns) == [
        "day",
        "core_hours",
        "milli_core_seconds",
        "memory_byte_seconds",
        "gpu_seconds",
    ]
    assert usage["core_hours"].tolist() == [0.25, 1 / 3_600_000]
    assert usage["milli_core_seconds"].dtype == "int64"
    assert usage["memory_byte_seconds"].tolist() == [5, HUGE]
    assert usage["day"].dt.strftime("%Y-%m-%dT%H:%M%z").tolist() == [
        "2026-11-01T00:00+0000",
        "2026-11-02T00:00+0000",
    ]
    assert usage.attrs["total_core_hours"] == 900_001 / 3_600_000
    assert usage._repr_html_().count("<tr") == 3


def test_without_pandas_usage_is_a_list_that_shows_as_a_table(
    dac: DAC, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dachub.client.frames.find_spec", lambda name: None)
    usage = dac.usage()
    assert usage[1]["memory_byte_seconds"] == HUGE
    assert usage[0]["day"] == date(2026, 11, 1)
    assert "<th>core_hours</th>" in usage._repr_html_()


@pytest.mark.parametrize(
    "when",
    [
        "2026-11-01",
        date(2026, 11, 1),
        datetime(2026, 11, 1),  # noqa: DTZ001 - people write such
        START,
        pd.Timestamp("2026-11-01"),
        "2026-11-01T01:00:00+01:00",
    ],
)
def test_a_period_is_sent_in_utc(dac: DAC, service: Service, when: str | date) -> None:
    dac.usage(since=when, by=["day", "user"], group="ztf")
    assert service.queries[-1] == (
        "/usage",
        {"since": ["2026-11-01T00:00:00Z"], "by": ["day", "user"], "group": ["ztf"]},
    )


def test_nonsense_is_refused_before_it_is_sent(dac: DAC, service: Service) -> None:
    with pytest.raises(BadRequest, match="2026-11-23"):
        dac.usage(since="yesterday")
    with pytest.raises(
        BadRequest, match="day, month, user, group, kind, size, environment, institution"
    ):
        dac.usage(by="moon")
    assert service.queries == []


def test_sessions_are_a_table_even_when_there_are_none(dac: DAC, service: Service) -> None:
    found = dac.sessions(state="running", limit=5)
    assert service.queries[-1] == ("/sessions", {"state": ["running"], "limit": ["5"]})
    assert found["core_hours"].tolist() == [0.5]
    assert found["started_at"].tolist() == [pd.Timestamp(START)]
    assert found["ended_at"].isna().all()
    service.put_json("/sessions", [])
    assert list(dac.sessions().columns) == list(found.columns)


def test_a_session_knows_itself(dac: DAC, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DACHUB_SESSION", str(SESSION_ID))
    session = dac.session
    assert session.core_hours == 0.5
    assert "Session on ztf, running" in repr(session)
    assert "2026-11-01 00:00 UTC" in session._repr_html_()


def test_balance_is_that_of_the_group_that_pays(dac: DAC, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DACHUB_GROUP", "ztf")
    assert dac.balance.left_core_hours == 9
    assert "9.00 of 10.00 core-hours" in repr(dac.balance)
    monkeypatch.setenv("DACHUB_GROUP", "left-it")
    with pytest.raises(NotInASession, match="no longer a member of the group 'left-it'"):
        _ = dac.balance


def test_outside_a_session_there_is_none(dac: DAC, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DACHUB_SESSION", raising=False)
    with pytest.raises(NotInASession, match=r"sessions\(\)"):
        _ = dac.session


def test_groups(dac: DAC) -> None:
    (group,) = dac.groups
    assert group.slug == "ztf"
    assert "PIs" in repr(group)


def test_utc_is_meant_where_no_zone_is_said() -> None:
    from dachub.client.dac import _moment

    assert _moment(datetime(2026, 11, 1, 12, 30, tzinfo=UTC)) == "2026-11-01T12:30:00Z"


def test_storage_is_a_table_of_places_with_their_largest_folders(
    service: Service, dac: DAC
) -> None:
    sample = StorageSample(
        area=StorageArea.HOME, owner="ada", bytes=5, allocated_bytes=HUGE, files=7,
        sampled_at=START, method=StorageMethod.WALK,
    )  # fmt: skip
    folder = Folder(path="data", allocated_bytes=3, files=1)
    uses = [
        StorageUse(
            area=StorageArea.HOME, owner="ada", known=True, sample=sample, largest=[folder]
        ),
        StorageUse(area=StorageArea.GROUP, owner="ztf", known=True),
    ]  # fmt: skip
    service.put_json("/storage", [use.model_dump(mode="json") for use in uses])
    storage = dac.storage()
    assert storage["allocated_bytes"].tolist()[0] == HUGE
    assert storage["state"].tolist() == ["unknown", "unknown"]
    assert storage["sampled_at"].tolist()[0] == START
    assert storage.attrs["largest"]["home/ada"] == [folder.model_dump()]
