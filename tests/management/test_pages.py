"""The pages of the management port in a real browser: by keyboard, at phone width, dark and light."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from stage import PASSWORD, PATIENCE, Server

PICTURES = Path(__file__).parents[2] / "target" / "management" / "pages"
PHONE = {"width": 375, "height": 667}
DESK = {"width": 1280, "height": 800}
SECRET = "canary-value-of-the-key"
OWNER = "owner@example.com"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as server:
        server.token_of("owner")
        server.token_of("vault-member")
        server.token_of("vault-admin")
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # The distribution's browser; the package brings one that it would fetch by itself.
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    assert program, "no chromium: scripts/test-management installs it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


class Visit:
    """A person's page. What went wrong in it is kept, and fails the test in the end."""

    def __init__(self, browser: Browser, server: Server, **options: Any) -> None:
        self.server = server
        self.context = browser.new_context(viewport=DESK, **options)
        self.context.set_default_timeout(PATIENCE * 1000)
        expect.set_options(timeout=PATIENCE * 1000)
        self.context.add_init_script(
            "document.addEventListener('securitypolicyviolation', (event) =>"
            " console.error('policy: ' + event.violatedDirective + ' ' + event.blockedURI));"
        )
        self.page: Page = self.context.new_page()
        self.wrong: list[str] = []
        self.foreign: list[str] = []
        self.page.on("console", self.heard)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", lambda request: None if request.url.startswith(server.url) else self.foreign.append(request.url))

    def heard(self, message: Any) -> None:
        # The browser itself notes every refusal of the API; the pages show them to the person.
        refused = message.text.startswith("Failed to load resource: the server responded with a status of 4")
        if message.type in ("error", "warning") and not refused:
            self.wrong.append(message.text)

    def end(self) -> None:
        self.context.close()
        assert self.wrong == []
        assert self.foreign == []

    def go(self, path: str) -> None:
        self.page.goto(path if path.startswith("http") else self.server.url + path)

    def type_login(self, email: str, password: str = PASSWORD) -> None:
        """With the keyboard alone: the form has it already."""
        expect(self.page.get_by_label("E-mail")).to_be_focused()
        self.page.keyboard.type(email)
        self.page.keyboard.press("Tab")
        self.page.keyboard.type(password)
        self.page.keyboard.press("Enter")

    def tab_to(self, wanted: Locator) -> None:
        expect(wanted).to_be_visible()
        for _ in range(40):
            if wanted.evaluate("(each) => each === document.activeElement"):
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"the keyboard does not reach {wanted}")

    def message(self, text: str) -> None:
        expect(self.page.get_by_role("status")).to_contain_text(text)

    def look(self, name: str) -> None:
        """Pictures of what is shown, and what has to hold of it at every size and in both colour schemes."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        for scheme in ("light", "dark"):
            self.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            found = Axe().run(self.page, options={"resultTypes": ["violations"]}).response["violations"]
            assert found == [], [(each["id"], [node["html"] for node in each["nodes"]][:3]) for each in found]
            for kind, size in (("desk", DESK), ("phone", PHONE)):
                self.page.set_viewport_size(size)  # type: ignore[arg-type]
                self.page.screenshot(path=PICTURES / f"{name}-{kind}-{scheme}.png")
                width = self.page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
                assert width[0] <= width[1], f"{name} scrolls sideways at {size['width']}"
        self.page.emulate_media(color_scheme="light")
        self.page.set_viewport_size(DESK)  # type: ignore[arg-type]

    def holds(self, *secrets: str) -> list[str]:
        """Those of the secrets that are anywhere in the document: text, attributes, or the values of its fields."""
        values = self.page.evaluate("[...document.querySelectorAll('input, textarea')].map((each) => each.value).join('\\n')")
        text = self.page.content() + values
        return [secret for secret in secrets if secret in text]


@pytest.fixture
def visit(browser: Browser, server: Server) -> Iterator[Visit]:
    visit = Visit(browser, server)
    yield visit
    visit.end()


def proposal(server: Server, key: str, name: str) -> str:
    """The link to a proposal of an agent, for a service that needs a key."""
    made = server.post("/v1/agents", server.founder, {"name": name, "vaults": [{"vault_name": "default", "vault_role": "proxy"}]})
    service = {
        "action": "set",
        "name": name,
        "host": f"{name}.example.com",
        "auth": {"type": "bearer", "token": key},
    }
    slot = {"action": "set", "key": key, "description": "what the service wants", "obtain": "https://example.com/keys"}
    wanted = {"services": [service], "credentials": [slot], "message": "for the report", "user_message": "I need to read <b>issues</b>."}
    raised = server.post("/v1/proposals", made["av_agent_token"], wanted, **{"X-Vault": "default"})
    link: str = raised["approval_url"]
    return link


def test_the_first_page_leads_to_the_rest(visit: Visit) -> None:
    visit.go("/")
    visit.look("root")
    visit.tab_to(visit.page.get_by_role("link", name="The HTTP API"))
    visit.page.keyboard.press("Enter")
    expect(visit.page.get_by_role("heading", level=1)).to_have_text("HTTP API")


def test_the_reference_shows_every_route(visit: Visit, server: Server) -> None:
    visit.go("/docs")
    document = server.call("GET", "/v1/openapi.json", None).json()
    operations = {operation["operationId"] for methods in document["paths"].values() for operation in methods.values()}
    assert operations == set(visit.page.eval_on_selector_all("details.operation", "(all) => all.map((each) => each.id)"))
    schemas = {f"schema-{name}" for name in document["components"]["schemas"]}
    assert schemas == set(visit.page.eval_on_selector_all("details.schema", "(all) => all.map((each) => each.id)"))
    broken = visit.page.eval_on_selector_all(
        "a[href^='#']", "(all) => all.map((each) => each.getAttribute('href')).filter((to) => !document.getElementById(to.slice(1)))"
    )
    assert broken == []
    assert visit.page.locator("script").count() == 0
    visit.look("reference")
    # By keyboard: past what leads in, to a route, open it.
    visit.page.keyboard.press("Tab")
    expect(visit.page.get_by_role("link", name="Skip to the routes")).to_be_focused()
    visit.page.keyboard.press("Enter")
    visit.tab_to(visit.page.locator("details.operation > summary").first)
    visit.page.keyboard.press("Enter")
    expect(visit.page.locator("details.operation").first).to_have_attribute("open", "")
    visit.page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    visit.page.locator("#services_replace").scroll_into_view_if_needed()
    visit.look("reference-open")


def test_a_person_approves_a_proposal_with_a_value(visit: Visit, server: Server) -> None:
    visit.go(proposal(server, "APPROVED_KEY", "approved"))
    expect(visit.page.get_by_text("approved.example.com").first).to_be_visible()
    expect(visit.page.get_by_text("I need to read <b>issues</b>.")).to_be_visible()
    visit.look("proposal-login")
    visit.type_login(OWNER, "not the password")
    visit.message("Invalid email or password")
    assert visit.holds("not the password") == []
    visit.tab_to(visit.page.get_by_label("E-mail"))
    visit.page.keyboard.press("ControlOrMeta+a")
    visit.page.keyboard.type(OWNER)
    visit.page.keyboard.press("Tab")
    visit.page.keyboard.type(PASSWORD)
    visit.page.keyboard.press("Enter")
    # What is asked for is what the keyboard and a screen reader come to first.
    expect(visit.page.get_by_label("The proposal")).to_be_focused()
    value = visit.page.get_by_label("Value of APPROVED_KEY")
    assert visit.holds(PASSWORD) == []
    visit.look("proposal-decide")
    # Without the value it cannot be approved.
    visit.tab_to(visit.page.get_by_role("button", name="Approve"))
    visit.page.keyboard.press("Enter")
    expect(value).to_be_focused()
    visit.page.keyboard.type(SECRET)
    visit.page.keyboard.press("Enter")
    visit.message("Approved.")
    assert visit.holds(SECRET, PASSWORD) == []
    visit.look("proposal-approved")
    revealed = server.call("GET", "/v1/credentials?vault=default&reveal=true&key=APPROVED_KEY", server.founder).json()
    assert revealed["credentials"][0]["value"] == SECRET


def test_a_person_rejects_a_proposal(visit: Visit, server: Server) -> None:
    visit.go(proposal(server, "REJECTED_KEY", "rejected"))
    visit.type_login("vault-admin@example.com")
    expect(visit.page.get_by_label("Value of REJECTED_KEY")).to_be_visible()
    visit.tab_to(visit.page.get_by_label("Reason, for a no"))
    visit.page.keyboard.type("not this host")
    visit.tab_to(visit.page.get_by_role("button", name="Reject"))
    visit.page.keyboard.press("Enter")
    visit.message("Rejected.")
    listed = server.call("GET", "/v1/admin/proposals?vault=default&status=rejected", server.founder).json()["proposals"]
    assert [each["review_note"] for each in listed] == ["not this host"]
    assert server.call("GET", "/v1/credentials?vault=default&reveal=true&key=REJECTED_KEY", server.founder).status_code == 404


def test_whoever_may_not_decide_is_told(visit: Visit, server: Server) -> None:
    visit.go(proposal(server, "SEEN_KEY", "seen"))
    # A member of the vault may not change its services.
    visit.type_login("vault-member@example.com")
    visit.message("You may look at it.")
    expect(visit.page.get_by_role("button", name="Approve")).to_be_hidden()


def test_a_proposal_whose_services_changed_is_shown_again(visit: Visit, server: Server) -> None:
    visit.go(proposal(server, "STALE_KEY", "stale"))
    visit.type_login(OWNER)
    visit.tab_to(visit.page.get_by_label("Value of STALE_KEY"))
    other = {"name": "in-between", "host": "between.example.com", "auth": {"type": "passthrough"}}
    server.post("/v1/vaults/default/services", server.founder, {"services": [other]})
    visit.page.keyboard.type(SECRET)
    visit.page.keyboard.press("Enter")
    visit.message("changed")
    visit.page.get_by_label("Value of STALE_KEY").fill(SECRET)
    visit.page.get_by_role("button", name="Approve").click()
    visit.message("Approved.")
    assert visit.holds(SECRET) == []


def test_a_person_accepts_an_invitation(visit: Visit, server: Server) -> None:
    wanted = {"email": "invited@example.com", "vaults": [{"vault_name": "default", "vault_role": "member"}]}
    visit.go(server.post("/v1/users/invites", server.founder, wanted)["invite_link"])
    expect(visit.page.get_by_text("invited@example.com")).to_be_visible()
    expect(visit.page.get_by_label("Password of your new account")).to_be_focused()
    visit.look("invitation")
    visit.page.keyboard.type("a password of my own")
    visit.page.keyboard.press("Tab")
    visit.page.keyboard.type("another")
    visit.page.keyboard.press("Enter")
    visit.message("The two passwords differ.")
    visit.page.keyboard.press("ControlOrMeta+a")
    visit.page.keyboard.type("a password of my own")
    visit.page.keyboard.press("Enter")
    expect(visit.page.get_by_text("agent-vault auth login --address")).to_be_visible()
    assert visit.holds("a password of my own") == []
    visit.look("invitation-accepted")
    login = {"email": "invited@example.com", "password": "a password of my own"}
    assert server.call("POST", "/v1/auth/login", None, login).status_code == 200
    visit.page.reload()
    visit.message("accepted")


@pytest.mark.parametrize(("button", "said", "status"), [("Approve", "Approved.", 200), ("Deny", "Denied.", 400)])
def test_a_person_decides_on_the_login_of_a_device(visit: Visit, server: Server, button: str, said: str, status: int) -> None:
    started = server.post("/v1/auth/device", None, {"device_label": "build machine"})
    visit.go("/device")
    visit.type_login(OWNER)
    code = visit.page.get_by_label("Code that the device shows")
    expect(code).to_be_focused()
    visit.page.keyboard.type("WRNG-CODE")
    visit.page.keyboard.press("Enter")
    expect(visit.page.get_by_role("status")).to_have_class("bad")
    visit.look(f"device-code-{button.lower()}")
    visit.tab_to(code)
    visit.page.keyboard.press("ControlOrMeta+a")
    visit.page.keyboard.type(started["user_code"])
    visit.page.keyboard.press("Enter")
    expect(visit.page.get_by_text("build machine")).to_be_visible()
    visit.look(f"device-{button.lower()}")
    visit.tab_to(visit.page.get_by_role("button", name=button))
    visit.page.keyboard.press("Enter")
    visit.message(said)
    polled = server.call("POST", "/v1/auth/device/token", None, {"device_code": started["device_code"]})
    assert polled.status_code == status, polled.text
    assert visit.holds(PASSWORD, started["device_code"]) == []


def test_links_to_pages_that_are_not_here_say_so(visit: Visit) -> None:
    for path in ("/login", "/vaults/default/services", "/manage/users"):
        visit.go(path)
        expect(visit.page.get_by_role("heading", level=1)).to_have_text("There is no such page")
    visit.look("absent")
    visit.page.get_by_role("link", name="the HTTP API").click()
    expect(visit.page.get_by_role("heading", level=1)).to_have_text("HTTP API")


def test_without_a_server_nothing_is_lost(browser: Browser, server: Server) -> None:
    visit = Visit(browser, server)
    visit.go(proposal(server, "OFFLINE_KEY", "offline"))
    visit.page.get_by_label("E-mail").fill(OWNER)
    visit.page.get_by_label("Password").fill(PASSWORD)
    visit.context.set_offline(True)
    visit.page.get_by_role("button", name="Log in").click()
    visit.message("The server does not answer")
    visit.context.set_offline(False)
    visit.context.close()


def test_without_scripts_the_pages_say_what_else_does_it(browser: Browser, server: Server) -> None:
    visit = Visit(browser, server, java_script_enabled=False)
    for path, command in (("/device", "auth device approve"), ("/approve/1", "vault proposal review"), ("/invite/x", "auth accept-invite")):
        visit.go(path)
        expect(visit.page.locator("noscript code")).to_contain_text(command)
    visit.end()
