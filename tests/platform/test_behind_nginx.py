"""A real platform behind a real nginx, both made of one dachub.yaml."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.harness.browser import NARROW, WIDE, overflows, screenshot
from tests.harness.nginx import Nginx, needs_nginx
from tests.harness.platform import Platform
from tests.harness.visitor import Visitor
from tests.harness.waiting import until

pytestmark = [pytest.mark.browser, pytest.mark.hub, needs_nginx]

LAB_SECONDS = 90
FILE_BYTES = 100_000_000
PAGES = {"maintenance": "/hub/home", "rules": "/static/acceptable-use.html"}
RULES = """\
# What the platform is for
Research with the survey's data, by people and groups that were admitted to it.

# What you take care of
Keep your password to yourself. Publish with the acknowledgement that the survey asks for.

# What is recorded
Who used how much computing time and space, and when; for how long is said in the privacy notice.
"""


@pytest.fixture(scope="module")
def nginx() -> Iterator[Nginx]:
    with Nginx(acceptable_use_file="rules.txt") as running:
        yield running


@pytest.fixture(scope="module")
def platform(nginx: Nginx) -> Iterator[Platform]:
    """What everybody reaches through nginx only."""
    platform = Platform(nginx.settings() | {"site": {"name": "Sky DAC"}})
    tree = platform.data / "dachub.yaml"
    tree.write_text(
        tree.read_text().replace(
            "nginx:\n", f"nginx:\n  upstreams: ['127.0.0.1:{platform.port}']\n"
        )
    )
    (platform.data / "rules.txt").write_text(RULES)
    with platform:
        command = platform.command("deploy", "nginx", str(nginx.conf), "--no-check", "--config")
        subprocess.run([*command, tree], check=True, env=platform.environ())
        nginx.start()
        yield platform


@pytest.fixture
def admin(platform: Platform, nginx: Nginx) -> Iterator[Visitor]:
    """The first administrator, signed in through nginx."""
    with Visitor(nginx.url, platform.admin_name(), platform.admin_password()) as visitor:
        visitor.http = nginx.client(follow_redirects=True)
        visitor.login()
        assert visitor.is_logged_in()
        yield visitor


@pytest.fixture
def page(browser: Browser, platform: Platform) -> Iterator[Page]:
    """A window of somebody who trusts the authority."""
    context = browser.new_context(ignore_https_errors=True, viewport={"width": 1280, "height": 900})
    yield context.new_page()
    context.close()


def protocols(page: Page) -> set[str]:
    """In what the page and its parts came."""
    came = "performance.getEntries().map((entry) => entry.nextHopProtocol).filter(Boolean)"
    return set(page.evaluate(came))


def test_from_login_to_a_notebook_in_the_browser(
    platform: Platform, nginx: Nginx, page: Page
) -> None:
    http = f"http://localhost:{nginx.http_port}/hub/login"
    page.goto(http)
    assert page.url.startswith(f"{nginx.url}/hub/login"), "plain HTTP leads to TLS"
    page.get_by_role("link", name="conditions of use").click()
    expect(page.get_by_role("heading", name="What is recorded")).to_be_visible()
    page.get_by_role("link", name="Back to sign-in").click()
    page.get_by_label("Username").fill(platform.admin_name())
    page.get_by_label("Password").fill(platform.admin_password())
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: "/hub/login" not in url)
    page.goto(f"{nginx.url}/hub/home")
    assert protocols(page) == {"h2"}
    assert all(cookie["secure"] for cookie in page.context.cookies())

    sockets: list[str] = []
    page.on("websocket", lambda socket: sockets.append(socket.url))
    page.goto(f"{nginx.url}/hub/spawn")
    page.get_by_label("Small").check()
    page.get_by_role("button", name="Start").click()
    page.wait_for_url("**/user/*/lab**", timeout=LAB_SECONDS * 1000)
    page.locator(".jp-Launcher").first.wait_for(timeout=LAB_SECONDS * 1000)
    page.locator('.jp-LauncherCard[data-category="Notebook"]').first.click()
    # Idle it says before there is a kernel, too.
    expect(page.locator(".jp-Toolbar-kernelName")).to_contain_text("Python 3", timeout=60_000)
    page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for(timeout=60_000)
    page.locator(".jp-Notebook .cm-content").first.click()
    page.keyboard.type("print(6 * 7)")
    page.keyboard.press("Shift+Enter")
    expect(page.locator(".jp-OutputArea-output").first).to_contain_text("42", timeout=60_000)
    assert any(url.startswith("wss://") and "/channels" in url for url in sockets)
    screenshot(page, "jupyterlab-behind-nginx")

    page.goto(f"{nginx.url}/services/dac/")
    expect(page.get_by_role("heading", name="My usage")).to_be_visible()
    assert all(cookie["secure"] for cookie in page.context.cookies())


def test_a_large_file_goes_up_and_down(platform: Platform, nginx: Nginx, admin: Visitor) -> None:
    user = f"/user/{admin.username}"
    with nginx.client(headers={"Authorization": f"token {admin.token()}"}) as client:
        if not client.get(f"/hub/api/users/{admin.username}").json()["servers"]:
            client.post(f"/hub/api/users/{admin.username}/server", json={"size": "small"})
        status = f"{user}/api/status"
        until(lambda: client.get(status).status_code == 200, "the server is there", LAB_SECONDS)
        body = {"type": "file", "format": "text", "content": "x" * FILE_BYTES}
        stored = client.put(f"{user}/api/contents/large.txt", json=body, timeout=120)
        assert stored.status_code == 201, stored.text
        assert stored.json()["size"] == FILE_BYTES
        taken = client.get(f"{user}/files/large.txt", timeout=120)
        assert len(taken.content) == FILE_BYTES


def test_hub_and_service_read_long_tokens(nginx: Nginx, platform: Platform) -> None:
    headers = {"Authorization": f"Bearer {'t' * 8192}", "Cookie": f"large={'c' * 16_000}"}
    with nginx.client(headers=headers) as client:
        for path in ("/hub/api/user", "/services/dac/api/v1/me"):
            answer = client.get(path)
            assert answer.status_code in {401, 403}, (path, answer.status_code, answer.text)
        assert client.get("/hub/login").status_code == 200


def test_the_hub_knows_where_a_request_really_comes_from(nginx: Nginx, platform: Platform) -> None:
    spoofed = {"X-Forwarded-For": "203.0.113.9", "X-Real-IP": "203.0.113.9"}
    with nginx.client("127.0.0.77", headers=spoofed) as client:
        page = client.get("/hub/login")
        field = page.text.split('name="_xsrf" value="')[1].split('"')[0]
        client.post("/hub/login", data={"username": "nobody", "password": "x", "_xsrf": field})
    logged = (platform.data / "logs" / "hub.json").read_text()
    assert "127.0.0.77" in logged
    assert "203.0.113.9" not in logged


def test_a_platform_that_was_killed_is_excused_and_comes_back(
    nginx: Nginx, platform: Platform, page: Page, admin: Visitor
) -> None:
    platform.kill("proxy")
    with nginx.client() as client:
        until(lambda: client.get("/hub/api/").status_code == 503, "nginx noticed", 10, 0.01)
        until(lambda: client.get("/hub/api/").status_code == 200, "it is back", 60)
    assert admin.is_logged_in()


def test_maintenance_and_rules_are_fit_to_be_read(nginx: Nginx, page: Page) -> None:
    nginx.flag.write_text("The data are being moved to new disks.\nWe open again at 14:00 UTC.")
    try:
        for width in (WIDE, NARROW):
            page.set_viewport_size({"width": width, "height": 844})
            for name, path in PAGES.items():
                page.goto(f"{nginx.url}{path}")
                screenshot(page, f"nginx-{name}")
                assert not overflows(page)
        page.goto(f"{nginx.url}/hub/home")
        expect(page.get_by_text("We open again at 14:00 UTC.")).to_be_visible()
        with nginx.client() as client:
            assert client.get("/services/dac/api/v1/me").json()["code"] == "maintenance"
    finally:
        nginx.flag.unlink()
    page.goto(f"{nginx.url}/hub/login")
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
