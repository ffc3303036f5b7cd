"""A real nginx with the configuration that is written, before servers that answer what they saw."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from tests.harness.nginx import Nginx, needs_nginx
from tests.harness.platform import free_port
from tests.harness.waiting import until
from tornado.httpclient import HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler, websocket_connect
from typer.testing import CliRunner

from dachub import config
from dachub.cli.main import app
from dachub.config import ConfigurationError, Settings
from dachub.deploy import nginx as front

MIB = 1024**2
KERNEL_PROTOCOL = "v1.kernel.websocket.jupyter.org"
RULES = "Be kind.\nTo all.\n\n# Data\nOnly <published> data & figures.\n"
HOSTILE = {
    "X-Forwarded-For": "203.0.113.9",
    "X-Real-IP": "203.0.113.9",
    "X-Forwarded-Proto": "http",
    "X-Forwarded-Host": "evil.example",
    "X-Scheme": "http",
    "Forwarded": "for=203.0.113.9;proto=http;host=evil.example",
    "Host": "evil.example",
}


class Seen(RequestHandler):
    """Answers with the headers that came, and how long the body was."""

    def get(self) -> None:
        self.write({name.lower(): value for name, value in self.request.headers.get_all()})

    def put(self) -> None:
        self.write({"bytes": len(self.request.body)})

    post = get


class Steering(RequestHandler):
    """Somebody's server that would rather be nginx."""

    def get(self) -> None:
        self.set_header("X-Accel-Redirect", "/.dachub/maintenance.html")
        self.set_header("Service-Worker-Allowed", "/")
        self.set_cookie("plain", "1")
        self.write("my own page")


class Script(RequestHandler):
    """A file that is worth compressing."""

    def get(self) -> None:
        self.set_header("Content-Type", "text/javascript")
        self.write("let x = 1; " * 1000)


class Refusing(RequestHandler):
    """Says by itself that it cannot."""

    def get(self) -> None:
        self.set_status(503)
        self.write("the hub's own words")


class Echo(WebSocketHandler):
    """Sends back what comes."""

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        return KERNEL_PROTOCOL if KERNEL_PROTOCOL in subprotocols else None

    def on_message(self, message: str | bytes) -> None:
        self.write_message(message, binary=isinstance(message, bytes))


class Upstream:
    """A platform's stand-in, in a thread of its own: it can go away and come back."""

    def __init__(self) -> None:
        self.port = free_port()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server: HTTPServer | None = None

    def start(self) -> None:
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)

    def close(self) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _start(self) -> None:
        handlers = [
            ("/user/eve/steering", Steering),
            ("/user/ada/ws", Echo),
            ("/(?:user/ada|hub)/static/x.js", Script),
            ("/hub/refusing", Refusing),
            (".*", Seen),
        ]
        server = HTTPServer(Application(handlers), max_buffer_size=256 * MIB)
        server.listen(self.port, "127.0.0.1")
        self._server = server

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.stop()
            await self._server.close_all_connections()
            self._server = None


@dataclass(frozen=True, slots=True)
class Site:
    """An nginx, and two that it finds behind it."""

    nginx: Nginx
    upstreams: tuple[Upstream, Upstream]

    def get(self, path: str, **more: Any) -> httpx.Response:
        with self.nginx.client() as client:
            return client.get(path, **more)


@pytest.fixture(scope="module")
def running() -> Iterator[Site]:
    upstreams = Upstream(), Upstream()
    addresses = [f"127.0.0.1:{each.port}" for each in upstreams]
    with Nginx(upstreams=addresses, upload_bytes_max=160 * MIB, sign_ins_per_minute=1) as nginx:
        rules = nginx.top / "rules.txt"
        rules.write_text(RULES)
        file = nginx.top / "dachub.yaml"
        tree = nginx.settings() | {"site": {"name": "Site & <Co>", "contact": "help@example.org"}}
        tree["nginx"]["acceptable_use_file"] = "rules.txt"
        file.write_text(yaml.safe_dump(tree))
        front.put(config.load(file), nginx.conf, check=False)
        nginx.start()
        yield Site(nginx, upstreams)
        for each in upstreams:
            each.close()


@pytest.fixture
def site(running: Site) -> Site:
    """With everything up, and open."""
    for each in running.upstreams:
        each.stop()
        each.start()
    running.nginx.flag.unlink(missing_ok=True)
    until(lambda: running.get("/hub/seen").status_code == 200, "nginx found them again")
    return running


@needs_nginx
def test_http_leads_to_the_public_address_whatever_host_was_asked_for(site: Site) -> None:
    answer = httpx.get(
        f"http://127.0.0.1:{site.nginx.http_port}/hub/login?next=%2Fhub%2Fhome",
        headers={"Host": "evil.example"},
        trust_env=False,
    )
    assert answer.status_code == 308
    assert answer.headers["Location"] == f"{site.nginx.url}/hub/login?next=%2Fhub%2Fhome"
    assert "/" not in answer.headers["Server"], "no version"


@needs_nginx
def test_nobody_says_themselves_where_they_come_from(site: Site) -> None:
    with site.nginx.client("127.0.0.7") as client:
        seen = client.get("/hub/seen", headers=HOSTILE).json()
    authority = site.nginx.url.removeprefix("https://")
    assert {name: seen[name] for name in seen if name.startswith("x-") or name == "host"} == {
        "host": authority,
        "x-real-ip": "127.0.0.7",
        "x-forwarded-for": "127.0.0.7",
        "x-forwarded-host": authority,
        "x-forwarded-port": str(site.nginx.https_port),
        "x-forwarded-proto": "https",
        "x-scheme": "https",
    }
    assert "forwarded" not in seen


@needs_nginx
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_tls_is_modern_and_http_2_is_spoken(site: Site) -> None:
    context = site.nginx.context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection(("127.0.0.1", site.nginx.https_port)) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        assert secure.selected_alpn_protocol() == "h2"
        assert secure.version() == "TLSv1.3"
    old = site.nginx.context()
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with (
        socket.create_connection(("127.0.0.1", site.nginx.https_port)) as plain,
        pytest.raises(ssl.SSLError),
    ):
        old.wrap_socket(plain, server_hostname="localhost")
    assert site.get("/hub/seen").headers["Strict-Transport-Security"] == "max-age=63072000"


@needs_nginx
async def test_messages_of_a_kernel_pass_as_they_are(site: Site) -> None:
    request = HTTPRequest(
        f"wss://localhost:{site.nginx.https_port}/user/ada/ws", ssl_options=site.nginx.context()
    )
    connection = await websocket_connect(request, subprotocols=[KERNEL_PROTOCOL])
    assert connection.selected_subprotocol == KERNEL_PROTOCOL
    for message in ("ünï", b"\xff\x00", "x" * MIB):
        await connection.write_message(message, binary=isinstance(message, bytes))
        assert await connection.read_message() == message
    connection.close()


@needs_nginx
def test_a_token_of_8_kb_beside_large_cookies_passes(site: Site) -> None:
    headers = {"Authorization": f"Bearer {'t' * 8192}", "Cookie": f"large={'c' * 30_000}"}
    seen = site.get("/services/dac/seen", headers=headers).json()
    assert {"authorization", "cookie"} <= seen.keys()
    assert len(seen["authorization"]) + len(seen["cookie"]) > 38_000


@needs_nginx
def test_servers_take_large_files_and_the_hub_does_not(site: Site) -> None:
    with site.nginx.client() as client:
        taken = client.put("/user/ada/api/contents/x", content=b"x" * 100_000_000)
        assert taken.json() == {"bytes": 100_000_000}
    for path, size in (("/user/ada/api/contents/x", 161 * MIB), ("/hub/api/users", 9 * MIB)):
        connection = HTTPSConnection(
            "localhost", site.nginx.https_port, context=site.nginx.context()
        )
        connection.request("PUT", path, headers={"Content-Length": str(size)})
        refused = connection.getresponse()
        assert refused.status == 413
        assert json.load(refused)["code"] == "too-large"
        connection.close()


@needs_nginx
def test_only_what_holds_no_token_is_compressed(site: Site) -> None:
    for path in ("/user/ada/static/x.js", "/hub/static/x.js"):
        assert site.get(path).headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in site.get("/hub/home").headers


@needs_nginx
def test_a_persons_server_cannot_steer_nginx(site: Site) -> None:
    answer = site.get("/user/eve/steering")
    assert answer.text == "my own page"
    assert "Service-Worker-Allowed" not in answer.headers
    assert answer.headers["Set-Cookie"] == "plain=1; Path=/; Secure"
    assert site.get("/.dachub/maintenance.html").status_code == 404


@needs_nginx
def test_a_node_that_dies_is_not_noticed(site: Site) -> None:
    site.upstreams[0].stop()
    with site.nginx.client() as client:
        assert [client.get("/hub/home").status_code for _ in range(6)] == [200] * 6


@needs_nginx
def test_while_the_platform_is_away_people_get_a_page_and_programs_a_problem(site: Site) -> None:
    for each in site.upstreams:
        each.stop()
    page = site.get("/hub/home", headers={"Accept": "text/html"})
    assert page.status_code == 503
    assert page.headers["Retry-After"] == "30"
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "Site &amp; &lt;Co&gt;" in page.text
    with site.nginx.client() as client:
        answers = [
            client.post("/hub/api/users/ada/server"),
            client.get("/services/dac/api/v1/me"),
            client.put("/user/ada/api/contents/x", content=b"x" * MIB),
            client.get("/user/ada/named/api/kernels"),
            client.get("/hub/home", headers={"Accept": "application/json"}),
        ]
    for answer in answers:
        assert answer.status_code == 503
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["code"] == "unavailable"
    for each in site.upstreams:
        each.start()
    until(lambda: site.get("/hub/home").status_code == 200, "it is back without anybody's doing")


@needs_nginx
def test_what_the_platform_says_itself_is_not_replaced(site: Site) -> None:
    answer = site.get("/hub/refusing")
    assert (answer.status_code, answer.text) == (503, "the hub's own words")


@needs_nginx
def test_a_file_closes_the_platform_and_its_text_is_told(site: Site) -> None:
    site.nginx.flag.write_text("New machines.\nBack at 14:00 UTC.")
    for path in ("/hub/login", "/user/ada/lab", "/hub/static/x.js", "/"):
        page = site.get(path)
        assert page.status_code == 503
        assert "New machines.\nBack at 14:00 UTC." in page.text
    assert site.get("/hub/api/users").json()["code"] == "maintenance"
    assert site.get("/static/acceptable-use.html").status_code == 200
    site.nginx.flag.write_text("")
    assert site.get("/hub/login").status_code == 503
    site.nginx.flag.unlink()
    assert site.get("/hub/login").status_code == 200


@needs_nginx
def test_passwords_cannot_be_tried_for_ever_from_one_address(site: Site) -> None:
    with site.nginx.client("127.0.0.8") as client:
        tried = [client.post("/hub/login") for _ in range(22)]
        assert {answer.status_code for answer in tried[:21]} == {200}
        assert tried[21].status_code == 429
        assert tried[21].headers["Retry-After"] == "60"
        assert client.get("/hub/login").status_code == 200, "the page is still there"
    with site.nginx.client("127.0.0.9") as client:
        assert client.post("/hub/login").status_code == 200, "others are not held up"


@needs_nginx
def test_the_rules_are_shown_as_the_site_wrote_them(site: Site) -> None:
    page = site.get("/static/acceptable-use.html")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "<p>Be kind.\nTo all.</p>" in page.text
    assert "<h2>Data</h2>" in page.text
    assert "<p>Only &lt;published&gt; data &amp; figures.</p>" in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]


@needs_nginx
def test_the_log_is_json_and_holds_no_query_and_nothing_of_peoples_work(site: Site) -> None:
    with site.nginx.client() as client:
        client.get("/user/ada/api/contents/private-idea.ipynb")
        assert client.delete("/user/ada/api/contents/undeletable").status_code == 405
    site.get("/hub/oauth_callback?code=very-secret&state=x", headers={"User-Agent": 'a"b\\'})

    def entry() -> dict[str, Any] | None:
        lines = [json.loads(line) for line in site.nginx.log.read_text().splitlines()]
        return next((line for line in lines if line["url.path"] == "/hub/oauth_callback"), None)

    found = until(entry, "the request is logged")
    assert found["user_agent.original"] == 'a"b\\'
    assert found["http.response.status_code"] == "200"
    logged = site.nginx.log.read_text()
    assert "very-secret" not in logged
    assert "private-idea" not in logged
    assert "undeletable" in logged, "what failed is there"


# --- Writing ----------------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path: Path) -> Path:
    public = {"public_url": "https://dac.example.org"}
    (tmp_path / "dachub.yaml").write_text(yaml.safe_dump({"listen": public}))
    return tmp_path


def test_the_command_writes_everything_and_says_how_to_use_it(data: Path) -> None:
    target = data / "made" / "nginx"
    words = ["deploy", "nginx", str(target), "--no-check", "--config", str(data / "dachub.yaml")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.stderr
    assert "systemctl reload nginx" in result.stdout
    written = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    excuses = {f"pages/{name}.{form}" for name in front.EXCUSES for form in ("html", "json")}
    assert written == {"dachub.conf", "nginx.conf", "static/pages.css", *excuses}
    assert "server 127.0.0.1:8000;" in (target / "dachub.conf").read_text()


def test_nginx_may_read_what_a_careful_operator_wrote(data: Path) -> None:
    before = os.umask(0o077)
    try:
        front.put(config.load(data / "dachub.yaml"), data / "nginx", check=False)
    finally:
        os.umask(before)
    for path in (data / "nginx", *(data / "nginx").rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644), path


@needs_nginx
def test_what_nginx_refuses_changes_nothing(data: Path) -> None:
    target = data / "nginx"
    settings = config.load(data / "dachub.yaml")
    front.put(settings, target, check=False)
    before = (target / "dachub.conf").read_text()
    lost = settings.nginx.model_copy(update={"certificate": "/nowhere/certificate.pem"})
    with pytest.raises(front.NginxRefused, match=r"/nowhere/certificate\.pem"):
        front.put(settings.model_copy(update={"nginx": lost}), target)
    assert (target / "dachub.conf").read_text() == before
    assert sorted(path.name for path in target.iterdir()) == [
        "dachub.conf",
        "nginx.conf",
        "pages",
        "static",
    ]


@needs_nginx
def test_nginx_itself_finds_no_fault(data: Path) -> None:
    with Nginx(upstreams=["10.0.0.11:30080", "[fd00::12]:30080"], acme_directory="/srv/x") as nginx:
        settings = Settings.model_validate(nginx.settings())
        assert front.put(settings, nginx.conf) is True


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "listen.public_url"),
        ({"listen": {"public_url": "http://dac.example.org"}}, "listen.public_url"),
        ({"listen": {"public_url": "https://a;b{c"}}, "listen.public_url"),
        (
            {
                "listen": {"public_url": "https://dac.example.org", "host": "0.0.0.0"},
                "tls": {"certificate": "x", "key": "y"},
            },
            "behind_proxy",
        ),
        (
            {
                "listen": {"public_url": "https://dac.example.org"},
                "nginx": {"acceptable_use_file": "/nowhere/rules.txt"},
            },
            "rules.txt cannot be read",
        ),
    ],
)
def test_what_is_missing_is_said(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        front.written(Settings.model_validate(settings))


@pytest.mark.parametrize(
    "nginx",
    [
        {"directory": "/etc/nginx; include /etc/passwd"},
        {"certificate": "/a b"},
        {"key": "relative.pem"},
        {"log_file": "/x$host"},
        {"upstreams": ["node1:80; deny all"]},
        {"upstreams": ["node1"]},
        {"header_bytes_max": 64 * 1024},
    ],
)
def test_no_setting_can_say_anything_else_to_nginx(nginx: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        config.parse(yaml.safe_dump({"nginx": nginx}), "dachub.yaml")


def test_the_login_page_links_the_rules_unless_the_site_has_them_elsewhere(data: Path) -> None:
    file = data / "dachub.yaml"
    (data / "rules.html").write_text("<p>Be <em>kind</em>.</p>")
    tree = {"nginx": {"acceptable_use_file": "rules.html"}}
    file.write_text(yaml.safe_dump(tree))
    assert config.load(file).site.acceptable_use_url == "/static/acceptable-use.html"
    elsewhere = "https://example.org/rules"
    file.write_text(yaml.safe_dump(tree | {"site": {"acceptable_use_url": elsewhere}}))
    assert config.load(file).site.acceptable_use_url == elsewhere


def test_every_excuse_is_where_the_configuration_looks_for_it(data: Path) -> None:
    conf = front.written(config.load(data / "dachub.yaml"))["dachub.conf"]
    assert {f"/.dachub/{name}.$dachub_form" for name in front.EXCUSES} == {
        word.rstrip(";") for word in conf.split() if word.endswith(".$dachub_form;")
    }
