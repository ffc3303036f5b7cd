"""The alerts: each fires when it should, none does on a good day, each has a page that helps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from tests.harness.prometheus import RULES, alerts, promtool
from tests.test_documentation import commands

from dachub.cli.main import app

RUNBOOKS = Path(__file__).parents[2] / "docs" / "runbooks"
INDEX = RUNBOOKS / "index.md"
SECTIONS = ("## What people notice", "## Look", "## Do", "## Call somebody")
TYPED = re.compile(r"(?:^|`|-- )(dachub [a-z-]+(?: [a-z-]+)?)", re.MULTILINE)
DAC = 'namespace="dac"'
UP = {
    f'up{{{DAC},job="dachub",instance="a"}}': "1x2000",
    f'up{{{DAC},job="dachub",instance="b"}}': "1x2000",
    f'up{{{DAC},job="dachub-hub"}}': "1x2000",
    f'dachub_build_info{{{DAC},version="1.0"}}': "1x2000",
    f"dachub_outbox_held{{{DAC}}}": "0x2000",
}
REQUESTS = "dachub_http_request_duration_seconds_count"
STARTS = "dachub_starts_total"
BUCKET = "dachub_start_duration_seconds_bucket"
PODS, RESTARTS = "kube_pod_status_phase", "kube_pod_container_status_restarts_total"
FREE, WHOLE = "kubelet_volume_stats_available_bytes", "kubelet_volume_stats_capacity_bytes"
LEADER = "dachub_leader_seen_timestamp_seconds"
OLDEST = "dachub_storage_oldest_sample_timestamp_seconds"

# A good day, minute by minute: all answer, some starts are refused, homes fill up, a mail waits.
HEALTHY = UP | {
    f'probe_success{{{DAC},job="dachub-public"}}': "1x2000",
    f'probe_ssl_earliest_cert_expiry{{{DAC},job="dachub-public"}}': "9999999x2000",
    f'{REQUESTS}{{{DAC},status="200"}}': "0+600x2000",
    f'{REQUESTS}{{{DAC},status="500"}}': "0+1x2000",
    f'{STARTS}{{{DAC},outcome="started"}}': "0+5x2000",
    f'{STARTS}{{{DAC},outcome="refused"}}': "0+5x2000",
    f'{STARTS}{{{DAC},outcome="failed"}}': "0+0x100 1+0x1900",
    f'{BUCKET}{{{DAC},le="60"}}': "0+5x2000",
    f'{BUCKET}{{{DAC},le="600"}}': "0+5x2000",
    f'{BUCKET}{{{DAC},le="+Inf"}}': "0+5x2000",
    f"dachub_start_wait_seconds{{{DAC}}}": "0x2000",
    f"dachub_outbox_oldest_seconds{{{DAC}}}": "5x2000",
    f"dachub_outbox_refused{{{DAC}}}": "3x2000",
    f"dachub_reconciler_age_seconds{{{DAC}}}": "30x2000",
    f'{LEADER}{{{DAC},kind="service",replica="a"}}': "0+60x2000",
    f'dachub_worker_failures{{{DAC},worker="mails"}}': "0x2000",
    f"dachub_enforcement_held{{{DAC}}}": "0x2000",
    f'dachub_quota_groups{{{DAC},resource="core-hours",state="ok"}}': "40x2000",
    f'dachub_quota_groups{{{DAC},resource="core-hours",state="warned"}}': "0x2000",
    f'dachub_quota_groups{{{DAC},resource="core-hours",state="closed"}}': "0x2000",
    f"dachub_requests_open{{{DAC}}}": "1x800 0x100 1x800 0x300",
    f"dachub_database_up{{{DAC}}}": "1x2000",
    f"dachub_database_connections{{{DAC}}}": "30x2000",
    f"dachub_database_connections_max{{{DAC}}}": "100x2000",
    f"dachub_backup_succeeded_timestamp_seconds{{{DAC}}}": "0+60x2000",
    f'dachub_mails{{{DAC},state="pending"}}': "1x2000",
    f'dachub_mails{{{DAC},state="failed"}}': "20x2000",
    f'{OLDEST}{{{DAC},area="home"}}': "0+60x2000",
    f'{PODS}{{{DAC},phase="Pending",pod="jupyter-ada"}}': "1x10 0x1990",
    f'{PODS}{{namespace="other",phase="Pending",pod="jupyter-bob"}}': "1x2000",
    'cluster_autoscaler_failed_scale_ups_total{reason="cloudProviderError"}': "2x2000",
    'kube_node_status_condition{condition="Ready",node="n1",status="true"}': "1x2000",
    f'{FREE}{{{DAC},persistentvolumeclaim="data-dachub-postgres-0"}}': "50x2000",
    f'{WHOLE}{{{DAC},persistentvolumeclaim="data-dachub-postgres-0"}}': "100x2000",
    f'{FREE}{{{DAC},persistentvolumeclaim="claim-ada"}}': "0x2000",
    f'{WHOLE}{{{DAC},persistentvolumeclaim="claim-ada"}}': "100x2000",
    f'{FREE}{{namespace="other",persistentvolumeclaim="data"}}': "0x2000",
    f'{WHOLE}{{namespace="other",persistentvolumeclaim="data"}}': "100x2000",
    f'{RESTARTS}{{{DAC},pod="hub-1"}}': "2x2000",
    f'kube_job_status_failed{{{DAC},job_name="dachub-migrate"}}': "0x2000",
}
# What ails: series that come instead of the good day's, and when it is told, in minutes. A series
# that is None is not there at all.
AILING: Mapping[str, tuple[int, Mapping[str, str | None]]] = {
    "DachubServiceDown": (65, dict.fromkeys(list(UP)[:2], "1x60 0x400")),
    "DachubReplicaDown": (75, {next(iter(UP)): "1x60 0x400"}),
    "DachubHubDown": (65, {list(UP)[2]: "1x60 stale"}),
    "DachubNotReachable": (65, {f'probe_success{{{DAC},job="dachub-public"}}': "1x60 0x400"}),
    "DachubCertificateExpires": (
        70,
        {f'probe_ssl_earliest_cert_expiry{{{DAC},job="dachub-public"}}': "1000000x400"},
    ),
    "DachubRequestsFail": (90, {f'{REQUESTS}{{{DAC},status="500"}}': "0x60 0+60x400"}),
    "DachubStartsFail": (90, {f'{STARTS}{{{DAC},outcome="failed"}}': "0x60 0+2x400"}),
    "DachubStartsSlow": (90, {f'{BUCKET}{{{DAC},le="60"}}': "0x400"}),
    "DachubStartsWait": (90, {f"dachub_start_wait_seconds{{{DAC}}}": "0+60x400"}),
    "DachubOutboxOld": (90, {f"dachub_outbox_oldest_seconds{{{DAC}}}": "0x60 0+60x400"}),
    "DachubOutboxRefused": (70, {f"dachub_outbox_refused{{{DAC}}}": "3x60 4x400"}),
    "DachubOutboxUnsafe": (70, {f"dachub_outbox_held{{{DAC}}}": "0x60 12x400"}),
    "DachubReconcilerOld": (90, {f"dachub_reconciler_age_seconds{{{DAC}}}": "30x60 0+60x400"}),
    "DachubNoLeader": (70, {f'{LEADER}{{{DAC},kind="service",replica="a"}}': "0+60x60 3600x400"}),
    "DachubWorkerFails": (90, {f'dachub_worker_failures{{{DAC},worker="mails"}}': "0x60 0+1x400"}),
    "DachubEnforcementHeld": (130, {f"dachub_enforcement_held{{{DAC}}}": "0x60 1x400"}),
    "DachubGroupsOver": (
        90,
        {f'dachub_quota_groups{{{DAC},resource="core-hours",state="closed"}}': "0x60 2x400"},
    ),
    "DachubGroupsNear": (
        130,
        {f'dachub_quota_groups{{{DAC},resource="core-hours",state="warned"}}': "0x60 2x400"},
    ),
    "DachubRequestsWait": (1500, {f"dachub_requests_open{{{DAC}}}": "1x2000"}),
    "DachubDatabaseAway": (70, {f"dachub_database_up{{{DAC}}}": "1x60 0x400"}),
    "DachubDatabaseConnections": (90, {f"dachub_database_connections{{{DAC}}}": "90x400"}),
    "DachubBackupOld": (
        1600,
        {f"dachub_backup_succeeded_timestamp_seconds{{{DAC}}}": "60x2000"},
    ),
    "DachubMailsWait": (130, {f'dachub_mails{{{DAC},state="pending"}}': "1x60 40x400"}),
    "DachubMailsGivenUp": (90, {f'dachub_mails{{{DAC},state="failed"}}': "20x60 60x400"}),
    "DachubStorageOld": (420, {f'{OLDEST}{{{DAC},area="home"}}': "60x1000"}),
    "DachubServersPending": (
        90,
        {f'{PODS}{{{DAC},phase="Pending",pod="jupyter-ada"}}': "0x60 1x400"},
    ),
    "DachubClusterCannotGrow": (
        75,
        {'cluster_autoscaler_failed_scale_ups_total{reason="cloudProviderError"}': "2x60 3x400"},
    ),
    "DachubNodeNotReady": (
        90,
        {'kube_node_status_condition{condition="Ready",node="n1",status="true"}': "1x60 0x400"},
    ),
    "DachubVolumeFull": (
        90,
        {f'{FREE}{{{DAC},persistentvolumeclaim="data-dachub-postgres-0"}}': "50x60 5x400"},
    ),
    "DachubPodRestarts": (90, {f'{RESTARTS}{{{DAC},pod="hub-1"}}': "0x60 0+1x400"}),
    "DachubJobFailed": (
        90,
        {f'kube_job_status_failed{{{DAC},job_name="dachub-migrate"}}': "0x60 1x400"},
    ),
}


def case(series: Mapping[str, str | None], minutes: int, *firing: str) -> Any:
    """A test of promtool: these alerts fire then, each once, and no others."""
    return {
        "interval": "1m",
        "input_series": [
            {"series": name, "values": values}
            for name, values in series.items()
            if values is not None
        ],
        "promql_expr_test": [
            {
                "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": f"{minutes}m",
                "exp_samples": [
                    {"labels": f'{{alertname="{name}"}}', "value": 1} for name in firing
                ],
            }
        ],
    }


def check(directory: Path, *cases: Any) -> None:
    """Have promtool run the tests."""
    path = directory / "tests.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "rule_files": [str(rules) for rules in RULES],
                "evaluation_interval": "1m",
                "tests": list(cases),
            }
        )
    )
    promtool("test", "rules", path)


def test_promtool_finds_no_fault() -> None:
    assert "SUCCESS" in promtool("check", "rules", *RULES)


def test_every_alert_has_its_case_here() -> None:
    assert list(AILING) == list(alerts())


def test_on_a_good_day_nothing_fires(tmp_path: Path) -> None:
    check(tmp_path, *(case(HEALTHY, minutes) for minutes in (45, 130)))


@pytest.mark.parametrize("name", AILING)
def test_an_alert_fires_and_no_other_does(tmp_path: Path, name: str) -> None:
    minutes, series = AILING[name]
    check(tmp_path, case(HEALTHY | series, minutes, name))


def test_what_was_never_seen_is_told_too(tmp_path: Path) -> None:
    check(tmp_path, case({}, 10, "DachubServiceDown", "DachubHubDown"))


def test_a_cluster_whose_backups_never_succeeded_is_told(tmp_path: Path) -> None:
    made = {f'kube_cronjob_created{{{DAC},cronjob="dachub-backup"}}': "60x2000"}
    never = {f"dachub_backup_succeeded_timestamp_seconds{{{DAC}}}": None}
    check(
        tmp_path, case(HEALTHY | made, 1600), case(HEALTHY | made | never, 1600, "DachubBackupOld")
    )


def test_one_instance_that_vanishes_is_missed_beside_another(tmp_path: Path) -> None:
    other = {name.replace(DAC, 'namespace="dev"'): values for name, values in UP.items()}
    gone = {f'up{{{DAC},job="dachub-hub"}}': "1x60 _x400"}
    check(tmp_path, case(UP | other | gone, 70, "DachubHubDown"))


def test_a_hub_that_does_not_tell_of_its_outbox_is_told(tmp_path: Path) -> None:
    silent = {f"dachub_outbox_held{{{DAC}}}": None}
    check(tmp_path, case(HEALTHY | silent, 10, "DachubOutboxUnsafe"))


@pytest.mark.parametrize("name", AILING)
def test_an_alert_says_how_bad_it_is_and_what_to_do(name: str) -> None:
    rule = alerts()[name]
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{name}.md"
    assert not re.search(r"\s{2}|\s$", rule["annotations"]["description"])


def test_every_alert_has_a_page_and_every_page_an_alert() -> None:
    pages = {page.stem for page in RUNBOOKS.glob("*.md")} - {"index"}
    assert pages == set(alerts())


@pytest.mark.parametrize("name", AILING)
def test_a_page_says_what_people_notice_how_to_look_and_what_to_do(name: str) -> None:
    text = (RUNBOOKS / f"{name}.md").read_text()
    assert text.startswith(f"# {name}\n")
    assert [line for line in text.splitlines() if line.startswith("##")] == list(SECTIONS)
    look = text[text.index("## Look") : text.index("## Do")]
    assert "```" in look, "commands"


def test_the_first_page_lists_them_all_with_their_severity() -> None:
    rows = re.findall(r"^\| \[(\w+)\]\(\1\.md\) \| (\w+) \|", INDEX.read_text(), re.MULTILINE)
    assert rows == [(name, rule["labels"]["severity"]) for name, rule in alerts().items()]


def test_commands_of_dachub_in_the_pages_are_commands() -> None:
    known = {words for words, _ in commands(typer.main.get_command(app))}
    typed = {
        match
        for page in RUNBOOKS.glob("*.md")
        for match in re.findall(
            r"(?:^|`|-- )(dachub [a-z-]+(?: [a-z-]+)?)", page.read_text(), re.MULTILINE
        )
    }
    assert typed
    assert {
        each for each in typed if not any(f"{k} ".startswith(f"{each} ") for k in known)
    } == set()
