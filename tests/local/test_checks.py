"""What is checked before a start, one fault at a time."""

from __future__ import annotations

import os
import re
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dachub.config import ListenSettings, Settings, TLSSettings
from dachub.hub.machine.cgroups import ControlGroups
from dachub.local import checks, doctor
from dachub.local.findings import Finding, StartRefused, refuse_on_errors
from dachub.local.layout import SECRETS, Layout

pytestmark = pytest.mark.usefixtures("open_umask")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs to be root")


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def with_interpreter(path: Path | str) -> Settings:
    environment = {"name": "test", "interpreter": str(path)}
    return Settings.model_validate({"servers": {"environments": [environment]}})


def test_layout_is_private_and_homes_can_be_reached(open_directory: Path) -> None:
    layout = Layout(open_directory / "data")
    layout.create()
    layout.create_secrets()
    modes = {
        path.relative_to(layout.data).as_posix(): stat.S_IMODE(path.stat().st_mode)
        for path in layout.data.rglob("*")
    }
    passable = 0o711 if os.geteuid() == 0 else 0o700
    assert stat.S_IMODE(layout.data.stat().st_mode) == modes["homes"] == passable
    assert {modes[name] for name in ("secrets", "hub", "logs", "run", "postgres")} == {0o700}
    assert {modes[f"secrets/{name}"] for name in SECRETS} == {0o600}
    before = {name: layout.secret(name) for name in SECRETS}
    assert len(set(before.values())) == len(SECRETS)
    layout.create()
    layout.create_secrets()
    assert {name: layout.secret(name) for name in SECRETS} == before


def test_a_data_directory_that_others_opened_is_closed_again(open_directory: Path) -> None:
    layout = Layout(open_directory / "data")
    layout.create()
    layout.secrets.chmod(0o755)
    layout.create_secrets()
    (layout.secrets / "hub-token").chmod(0o644)
    found = list(doctor.check_permissions(layout))
    assert [finding.code for finding in found] == ["permissions-too-open"]
    assert "hub-token" in found[0].what
    layout.create()
    assert stat.S_IMODE(layout.secrets.stat().st_mode) == 0o700


def test_unsuitable_paths(tmp_path: Path) -> None:
    assert checks.check_data_path(Layout(Path("/srv/dachub"))).severity == "ok"
    assert checks.check_data_path(Layout(Path("/srv/data für alle"))).code == "data-path-unsuitable"
    assert checks.check_data_path(Layout(Path("/srv/a;b"))).code == "data-path-unsuitable"
    assert checks.check_data_path(Layout(Path("/srv") / ("x" * 90))).code == "data-path-too-long"


def test_data_directory_that_is_a_file(open_directory: Path) -> None:
    file = open_directory / "file"
    file.write_text("")
    assert checks.check_data_directory(Layout(file)).code == "data-directory-unwritable"
    assert checks.check_data_directory(Layout(file / "data")).code == "data-directory-unwritable"


@needs_root
def test_data_directory_of_somebody_else_or_behind_a_closed_one(open_directory: Path) -> None:
    other = open_directory / "other"
    other.mkdir()
    os.chown(other, 65534, 65534)
    assert checks.check_data_directory(Layout(other)).code == "data-directory-not-ours"
    closed = open_directory / "closed"
    closed.mkdir(mode=0o700)
    found = checks.check_data_directory(Layout(closed / "data"))
    assert found.code == "data-directory-closed"
    assert f"chmod o+x {closed}" in found.advice


@needs_root
def test_data_directory_that_others_could_replace(open_directory: Path) -> None:
    parent = open_directory / "parent"
    parent.mkdir()
    data = Layout(parent / "below" / "data")
    for mode, owner, code in [
        (0o755, 0, "data-directory"),
        (0o1777, 0, "data-directory"),  # as /tmp: nobody renames what is root's
        (0o777, 0, "data-directory-replaceable"),
        (0o755, 65534, "data-directory-replaceable"),
    ]:
        parent.chmod(mode)
        os.chown(parent, owner, owner)
        found = checks.check_data_directory(data)
        assert found.code == code
        assert code == "data-directory" or str(parent) in found.why


def test_busy_port_and_unusable_addresses() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        found = checks.check_address(ListenSettings(port=port))
        assert (found.code, found.severity) == ("port-busy", "error")
        assert f"127.0.0.1:{port}" in found.what
    assert checks.check_address(ListenSettings(port=port)).severity == "ok"
    assert checks.check_address(ListenSettings(host="192.0.2.1")).code == "address-unusable"
    assert checks.check_address(ListenSettings(host="no.such.invalid")).code == "address-unusable"


def test_full_disk(monkeypatch: pytest.MonkeyPatch, open_directory: Path) -> None:
    layout = Layout(open_directory / "data")
    free_bytes = checks.FREE_BYTES_NEEDED

    def usage(_path: Path) -> os.stat_result:
        return type("Usage", (), {"free": free_bytes})()

    monkeypatch.setattr(checks.shutil, "disk_usage", usage)
    assert checks.check_free_disk(layout).code == "disk-nearly-full"
    free_bytes -= 1
    assert checks.check_free_disk(layout).code == "disk-full"
    assert checks.check_free_disk(layout).severity == "error"
    free_bytes = checks.FREE_BYTES_WISHED
    assert checks.check_free_disk(layout).severity == "ok"


def test_missing_programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert checks.check_programs().severity == "ok"
    monkeypatch.setenv("PATH", str(tmp_path))
    found = checks.check_programs()
    assert found.code == "program-missing"
    assert "apt-get install" in found.advice


def test_certificate_and_key(tmp_path: Path) -> None:
    certificate, key, other = tmp_path / "c.pem", tmp_path / "k.pem", tmp_path / "o.pem"
    for subject, into in (("/CN=a", (certificate, key)), ("/CN=b", (tmp_path / "b.pem", other))):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-days", "2", "-subj", subject, "-out", into[0], "-keyout", into[1]],
            check=True,
            capture_output=True,
        )  # fmt: skip
    assert checks.check_tls(TLSSettings()).severity == "ok"
    assert checks.check_tls(TLSSettings(certificate=certificate, key=key)).severity == "ok"
    for wrong in (other, tmp_path / "missing.pem", certificate):
        found = checks.check_tls(TLSSettings(certificate=certificate, key=wrong))
        assert (found.code, found.severity) == ("tls-unusable", "error")


def test_interpreters(open_directory: Path) -> None:
    assert [f.severity for f in checks.check_interpreters(with_interpreter(sys.executable))] == [
        "ok"
    ]
    missing = open_directory / "python"
    broken = checks.check_interpreters(with_interpreter(missing))
    assert [finding.code for finding in broken] == ["interpreter-broken"]
    assert str(missing) in broken[0].what
    without = checks.check_interpreters(Settings())
    assert [finding.code for finding in without] == ["interpreter-missing"]


@needs_root
def test_interpreter_behind_a_closed_directory(open_directory: Path) -> None:
    closed = open_directory / "closed"
    closed.mkdir(mode=0o700)
    link = closed / "python"
    link.symlink_to(sys.executable)
    found = checks.check_interpreters(with_interpreter(link))
    assert [finding.code for finding in found] == ["interpreter-unreadable"]
    assert str(closed) in found[0].why


def test_databases(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def check(url: str | None) -> Finding:
        return checks.check_database(Settings.model_validate({"database": {"url": url}}))

    assert check(None).severity == "ok"
    assert check(database_url).severity == "ok"
    found = check("postgresql://nobody@127.0.0.1:1/none")
    assert (found.code, found.severity) == ("database-unreachable", "error")
    monkeypatch.setattr(checks.postgres, "OLDEST_MAJOR", 99)
    found = check(database_url)
    assert (found.code, found.severity) == ("database-too-old", "error")


def test_all_errors_are_told_together_with_the_code_of_the_first() -> None:
    findings = [
        Finding(code="a", severity="ok", what="fine"),
        Finding(code="b", severity="error", what="One.", advice="Do this."),
        Finding(code="c", severity="warning", what="Careful."),
        Finding(code="d", severity="error", what="Two."),
    ]
    with pytest.raises(StartRefused) as caught:
        refuse_on_errors(findings)
    assert caught.value.message == "One. Do this.\nTwo."
    assert caught.value.code == "b"
    refuse_on_errors(findings[::2])


def test_clock_that_went_back(open_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout(open_directory / "data")
    layout.create()
    layout.config.write_text("")
    assert doctor.check_clock(layout).severity in {"ok", "warning"}
    later = layout.config.stat().st_mtime + 3600
    os.utime(layout.config, (later, later))
    assert doctor.check_clock(layout).code == "clock-wrong"


def test_limits_that_are_enforced_and_not(tmp_path: Path) -> None:
    both = ControlGroups({"cpu": tmp_path, "memory": tmp_path})
    assert doctor.check_limits(both).severity == "ok"
    found = doctor.check_limits(ControlGroups({"memory": tmp_path}))
    assert (found.code, found.severity) == ("limits-not-enforced", "warning")
    assert "Cores are accounted, not enforced" in found.what
    assert "Memory is enforced" in found.what


def test_every_finding_is_in_the_troubleshooting_page() -> None:
    root = Path(__file__).parents[2]
    page = (root / "docs" / "troubleshooting.md").read_text()
    sources = "".join(path.read_text() for path in (root / "src/dachub/local").glob("*.py"))
    faults = {
        code
        for code in re.findall(r'"([a-z]+(?:-[a-z]+)+)"', sources)
        if f'code="{code}"' in sources
        or f'code = "{code}"' in sources
        or f'else "{code}"' in sources
    } - {"start-refused", "data-path", "data-directory", "free-disk", "database-superuser-password"}
    assert len(faults) > 25
    assert sorted(code for code in faults if f"`{code}`" not in page) == []
