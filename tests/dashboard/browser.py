#!/usr/bin/env python3
"""The page in a real browser, driven over W3C WebDriver with nothing but the standard library.

    browser.py ADDRESS DAEMON PROGRAM CANARY PICTURES

ADDRESS   what wardline dashboard has printed
DAEMON    the process id of the daemon: it is stopped, continued and killed
PROGRAM   the process id of the page's program: it is ended
CANARY    a serial number that must not be on the page
PICTURES  a folder for screen shots

Ends with 1 when a check failed; says each.
"""
import base64
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
TAB = "\ue004"


class Browser:
    """Chromium without a window, by chromedriver."""

    def __init__(self, folder):
        self.driver = subprocess.Popen(["chromedriver", "--port=0", f"--log-path={folder}/driver.log"], stdout=subprocess.PIPE, text=True)
        port = None
        for line in self.driver.stdout:
            if found := re.search(r"started successfully on port (\d+)", line):
                port = found[1]
                break
        self.base = f"http://127.0.0.1:{port}"
        options = {
            "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
                     "--disable-background-networking", "--disable-component-update", "--disable-sync",
                     "--window-size=1200,1100", f"--user-data-dir={folder}/profile"],
        }
        always = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
        made = self.call("POST", "/session", {"capabilities": {"alwaysMatch": always}})
        self.base += f"/session/{made['sessionId']}"

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(error.read().decode()[:600]) from error

    def run(self, script, *arguments):
        return self.call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def cdp(self, command, **parameters):
        return self.call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def role(self, selector):
        found = self.call("POST", "/element", {"using": "css selector", "value": selector})
        return self.call("GET", f"/element/{found[ELEMENT]}/computedrole")

    def press(self, key):
        keys = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self.call("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": keys}]})

    def log(self, kind):
        return self.call("POST", "/se/log", {"type": kind})

    def picture(self, path):
        self.settled()
        path.write_bytes(base64.b64decode(self.call("GET", "/screenshot")))

    def settled(self):
        self.call("POST", "/execute/async", {"script": "requestAnimationFrame(() => requestAnimationFrame(arguments[0]))", "args": []})

    def media(self, **features):
        self.cdp("Emulation.setEmulatedMedia", features=[{"name": name.replace("_", "-"), "value": value} for name, value in features.items()])

    def width(self, width, height):
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def end(self):
        try:
            self.call("DELETE", "")
        finally:
            self.driver.terminate()
            self.driver.wait()


failures = []


def check(what, holds, detail=""):
    print(f"  {'ok    ' if holds else 'FAILED'} {what}" + ("" if holds else f": {detail}"))
    if not holds:
        failures.append(what)


def until(browser, what, script, patience=30):
    """Waits until a script says yes."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if browser.run(script):
            check(what, True)
            return
        time.sleep(0.1)
    check(what, False, browser.run("return document.body.innerText").replace("\n", " | ")[:600])


# Every text that is seen, with the contrast of its colour to what is painted behind it (WCAG 2.2, 1.4.3).
CONTRAST = """
const parse = (text) => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return { r, g, b, a }; };
const over = (top, under) => ({ r: top.r * top.a + under.r * (1 - top.a), g: top.g * top.a + under.g * (1 - top.a), b: top.b * top.a + under.b * (1 - top.a), a: 1 });
const light = ({ r, g, b }) => { const [x, y, z] = [r, g, b].map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)); return 0.2126 * x + 0.7152 * y + 0.0722 * z; };
const behind = (node) => {
  const layers = [];
  for (let one = node; one; one = one.parentElement) layers.push(parse(getComputedStyle(one).backgroundColor));
  return layers.reverse().reduce((under, top) => over(top, under), parse(getComputedStyle(document.documentElement).colorScheme.includes("dark") && matchMedia("(prefers-color-scheme: dark)").matches ? "rgb(18, 18, 18)" : "rgb(255, 255, 255)"));
};
const found = [];
const judge = (node, pseudo, text) => {
  const under = behind(node);
  const [a, b] = [light(over(parse(getComputedStyle(node, pseudo).color), under)), light(under)];
  found.push({ text, ratio: (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) });
};
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode.parentElement;
  const text = walker.currentNode.textContent.trim();
  if (text === "" || node.closest("noscript, .hidden") || !node.checkVisibility()) continue;
  judge(node, null, text);
  if (!["none", "normal", '""'].includes(getComputedStyle(node, "::before").content)) judge(node, "::before", `the sign before ${text}`);
}
for (const cell of document.querySelectorAll("#devices td")) if (getComputedStyle(cell, "::before").content !== "none") judge(cell, "::before", cell.dataset.name);
judge(document.getElementById("find"), "::placeholder", "placeholder");
return found;
"""


def contrast(browser, where):
    found = browser.run(CONTRAST)
    poor = [one for one in found if one["ratio"] < 4.5]
    least = min(one["ratio"] for one in found)
    check(f"contrast of {len(found)} texts, {where}: at least 4.5 to 1, least {least:.2f}", len(found) > 30 and not poor, poor[:5])


def content(browser, canary):
    until(browser, "every device has its row", "return document.querySelectorAll('#rows tr').length === 6")
    check("the key has gone from the address", browser.run("return location.hash === '' && location.search === ''"))
    rows = browser.run("return [...document.querySelectorAll('#rows tr')].map((row) => row.innerText)")
    check("who needs somebody is first", "oximeter-bed-3" in rows[0] and "all of it is refused" in rows[0], rows)
    check("who is well is last", "oximeter-bed-8" in rows[-1] and "up" in rows[-1], rows)
    state = browser.run("return document.getElementById('state').innerText")
    check("the broker is connected", "connected" in state, state)
    check("the whole is one sentence", re.match(r"5 of 6 devices", browser.run("return document.getElementById('summary').textContent") or "") is not None)
    everything = browser.run("return document.documentElement.outerHTML + JSON.stringify(view)")
    check("no serial number is on the page or in what it was told", canary not in everything and "8002-51734" not in everything)
    check("nothing but strings of its own is markup", browser.run("return document.querySelectorAll('#rows script, #rows a, #rows img').length === 0"))


def live(browser):
    browser.run("""
        window.rowBefore = [...document.querySelectorAll('#rows tr')].pop();
        window.admittedBefore = Number(rowBefore.children[4].textContent);
        window.told = [document.getElementById('summary').textContent];
        new MutationObserver(() => { window.told.push(document.getElementById('summary').textContent); }).observe(document.getElementById('summary'), { childList: true, characterData: true, subtree: true });
        window.removed = 0;
        new MutationObserver((all) => { for (const one of all) window.removed += one.removedNodes.length; }).observe(document.getElementById('rows'), { childList: true });
    """)
    until(browser, "a figure grows by itself", "return Number([...document.querySelectorAll('#rows tr')].pop().children[4].textContent) > window.admittedBefore")
    check("its row is the same as before", browser.run("return [...document.querySelectorAll('#rows tr')].pop() === window.rowBefore && window.removed === 0"))
    told = browser.run("return window.told")
    check("and a screen reader is told nothing twice", all(one != next for one, next in zip(told, told[1:])), told)


def keyboard(browser):
    browser.run("document.body.focus(); window.scrollTo(0, 0)")
    seen = []
    for _ in range(4):
        browser.press(TAB)
        browser.settled()
        seen.append(browser.run("""
            const at = document.activeElement, style = getComputedStyle(at), box = at.getBoundingClientRect();
            return { name: at.id || at.className, outline: style.outlineStyle, width: parseFloat(style.outlineWidth),
                     shown: box.width > 0 && box.left >= 0 && box.bottom > 0 && box.top < innerHeight };"""))
    check("Tab goes to the skip link, the two filters and the list that scrolls", [one["name"] for one in seen] == ["skip", "find", "trouble", "scroll"], seen)
    check("each of them is seen to have the focus", all(one["outline"] != "none" and one["width"] >= 2 and one["shown"] for one in seen), seen)
    browser.run("document.getElementById('find').focus()")
    for key in "bed-8":
        browser.press(key)
    until(browser, "typing finds a device", "return document.querySelectorAll('#rows tr').length === 1")
    browser.run("document.getElementById('find').value = ''; document.getElementById('find').dispatchEvent(new Event('input')); document.activeElement.blur()")


def roles(browser, where):
    wanted = {"#devices table": "table", "#rows": "rowgroup", "#rows tr": "row", "#rows th": "rowheader", "#rows td": "cell",
              "#devices thead th": "columnheader", "#summary": "status", ".scroll": "region"}
    found = {selector: browser.role(selector) for selector in wanted}
    check(f"roles, {where}", found == wanted, found)


def looks(browser, pictures):
    for scheme in ("light", "dark"):
        browser.media(prefers_color_scheme=scheme, prefers_reduced_motion="no-preference")
        browser.width(1200, 1100)
        contrast(browser, scheme)
        browser.picture(pictures / f"wide-{scheme}.png")
        browser.width(360, 1500)
        contrast(browser, f"{scheme}, 360 px wide")
        browser.picture(pictures / f"phone-{scheme}.png")
    for width in (320, 360, 500, 641, 768):
        browser.width(width, 900)
        wide = browser.run("return document.documentElement.scrollWidth")
        check(f"{width} px: nothing is beyond the edge", wide <= width, wide)
    browser.width(360, 900)
    roles(browser, "360 px wide")
    browser.width(1200, 1100)
    roles(browser, "1200 px wide")
    browser.media(prefers_color_scheme="light", prefers_reduced_motion="reduce")
    moving = browser.run("""
        const moves = (node) => { const style = getComputedStyle(node); return parseFloat(style.transitionDuration) > 0 || parseFloat(style.animationDuration) > 0; };
        return document.getAnimations().length + [...document.querySelectorAll('*')].filter(moves).length;""")
    check("nothing moves", moving == 0, moving)


# The heads that are seen.
HEADS = "return [...document.querySelectorAll('thead th')].filter((head) => head.checkVisibility()).map((head) => head.textContent)"


def stale(browser, daemon, pictures):
    os.kill(daemon, signal.SIGSTOP)
    until(browser, "a daemon that is stopped: the page says that it does not answer", "return document.body.classList.contains('old') && document.getElementById('summary').textContent.includes('has not answered')")
    until(browser, "and how old its figures are", r"return /What stands here is \d+ s old/.test(document.getElementById('fresh').textContent)")
    contrast(browser, "stale")
    browser.picture(pictures / "stale.png")
    until(browser, "after a while none are shown", "return document.querySelectorAll('#rows tr').length === 0 && document.getElementById('none').textContent.includes('Nothing is known')")
    check("and no heads above nothing", not browser.run(HEADS), browser.run(HEADS))
    os.kill(daemon, signal.SIGCONT)
    until(browser, "a daemon that goes on is live again", "return !document.body.classList.contains('old') && document.querySelectorAll('#rows tr').length === 6")
    check("with its heads", len(browser.run(HEADS)) == 11, browser.run(HEADS))
    os.kill(daemon, signal.SIGKILL)
    until(browser, "a daemon that is killed is away", "return document.getElementById('summary').textContent.includes('no daemon answers') && document.getElementById('summary').className === 'bad'")
    check("no table of it has heads above nothing", not browser.run(HEADS), browser.run(HEADS))
    browser.picture(pictures / "away.png")


def silence(browser, address):
    own = address.split("/#")[0]
    urls = set()
    for entry in browser.log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            urls.add(message["params"]["request"]["url"])
    # The browser's own first tab.
    urls = {url for url in urls if not url.startswith(("chrome:", "chrome-untrusted:"))}
    elsewhere = [url for url in urls if not url.startswith((own + "/", "data:", "about:"))]
    check(f"{len(urls)} addresses were asked for, all of them on the page's own port", len(urls) >= 4 and not elsewhere, elsewhere)
    said = [entry for entry in browser.log("browser") if entry["level"] in ("SEVERE", "WARNING")]
    check("the console has no error and no warning", not said, said)


def lost(browser, program):
    os.kill(program, signal.SIGTERM)
    until(browser, "a program that has ended is lost, and can be looked for again", "return document.getElementById('summary').textContent.includes('has lost its program') && document.getElementById('again').checkVisibility()")


def main():
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    address, daemon, program, canary, pictures = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], Path(sys.argv[5])
    pictures.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        browser = Browser(folder)
        try:
            browser.width(1200, 1100)
            browser.call("POST", "/url", {"url": address})
            content(browser, canary)
            live(browser)
            keyboard(browser)
            looks(browser, pictures)
            stale(browser, daemon, pictures)
            silence(browser, address)
            lost(browser, program)
        finally:
            browser.end()
    print(f"\n{len(failures)} failed")
    sys.exit(1 if failures else 0)


main()
