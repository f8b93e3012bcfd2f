"""The docs page, as a person uses it: read in a browser, signed in from, a bid placed from."""

import json
import os
import re
import shutil
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PASSWORD = "a long enough one"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium of this machine's: no Python package brings one. Without any, there is nothing to try."""
    found = os.environ.get("ITLC_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("no Chromium on the PATH: install one, or name it in ITLC_BROWSER")
    quiet = ["--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", *quiet])
        yield running
        running.close()


@pytest.fixture
def service_id(http: httpx.Client) -> int:
    """A service on offer, of a provider made over HTTP."""
    headers = signed_up(http, "bo@docs.example.org")
    http.post("/providers", json={"name": "Bo"}, headers=headers).raise_for_status()
    offered = http.post("/services", json={"name": "Lawns", "description": "Mown."}, headers=headers)
    return int(offered.raise_for_status().json()["id"])


def signed_up(http: httpx.Client, email: str) -> dict[str, str]:
    """Register and sign in; returns the headers to call with."""
    http.post("/users", json={"name": "Somebody", "email": email, "password": PASSWORD}).raise_for_status()
    session = http.post("/sessions", json={"email": email, "password": PASSWORD}).raise_for_status().json()
    return {"Authorization": f"Bearer {session['access_token']}"}


def unfold(page: Page, tag: str, operation: str) -> None:
    """Open an operation of the page."""
    section = page.locator(f"#operations-tag-{tag}")
    if section.get_attribute("data-is-open") != "true":
        section.click()
    page.locator(f"#operations-{tag}-{operation} .opblock-summary-control").click()


def execute(page: Page, tag: str, operation: str, body: dict[str, object], **parameters: object) -> dict[str, object]:
    """Fill in an operation's form, send it, and return what the page shows as the answer."""
    unfold(page, tag, operation)
    block = page.locator(f"#operations-{tag}-{operation}")
    for name, value in parameters.items():
        block.locator(f'tr[data-param-name="{name}"] input').fill(str(value))
    block.locator("textarea.body-param__text").fill(json.dumps(body))
    block.locator("button.execute").click()
    status = block.locator(".live-responses-table tr.response .response-col_status").first
    expect(status).to_contain_text("201", timeout=30_000)
    answer: dict[str, object] = json.loads(
        block.locator(".live-responses-table .highlight-code code").first.inner_text()
    )
    return answer


def test_a_bid_is_placed_from_the_page(browser: Browser, http: httpx.Client, api_url: str, service_id: int) -> None:
    headers = signed_up(http, "ada@docs.example.org")
    page = browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{api_url}/docs")
    credentials: dict[str, object] = {"email": "ada@docs.example.org", "password": PASSWORD}
    session = execute(page, "accounts", "sign_in", credentials)
    page.locator("button.authorize").first.click()
    page.locator(".auth-container input").fill(str(session["access_token"]))
    page.locator(".auth-btn-wrapper button.authorize").click()
    page.locator(".auth-btn-wrapper button.btn-done").click()
    bid = execute(page, "bids", "place_bid", {"amount": "95.00"}, service_id=service_id)
    assert http.get(f"/bids/{bid['id']}", headers=headers).json()["amount"] == "95.00"
    elsewhere = [url for url in asked if not url.startswith((api_url, "data:"))]
    assert elsewhere == []


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_and_follows_the_readers_colours(browser: Browser, api_url: str, width: int, scheme: str) -> None:
    page = browser.new_page(
        viewport={"width": width, "height": 900}, color_scheme="dark" if scheme == "dark" else "light"
    )
    page.goto(f"{api_url}/docs")
    expect(page.locator("#operations-tag-bids")).to_be_visible(timeout=30_000)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    colour = page.locator(".info .title").first.evaluate("element => getComputedStyle(element).color")
    brightness = sum(int(part) for part in re.findall(r"\d+", colour)[:3]) / 3
    assert (brightness > 128) == (scheme == "dark"), f"the title is written in {colour}"
