"""A headless Chromium that is spoken to: keys, windows, colour schemes, the accessibility tree, pictures.

The devtools protocol over a pair of pipes (`--remote-debugging-pipe`): a message is JSON that ends with a zero byte.
"""

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--disable-dev-shm-usage",
]

# The browser reads commands from descriptor 3 and answers on 4.
_ON_3_AND_4 = """import fcntl, os, sys
hears, says = (fcntl.fcntl(int(each), fcntl.F_DUPFD, 10) for each in sys.argv[1:3])
os.dup2(hears, 3), os.dup2(says, 4)
os.execvp(sys.argv[3], sys.argv[3:])"""
_KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32}


def executable():
    """The browser that `TB_BROWSER` names, or one on the path; None if there is none."""
    named = os.environ.get("TB_BROWSER")
    return named or next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One process for many pages; a context manager."""

    def __init__(self):
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        hears, says = os.pipe(), os.pipe()
        command = [
            sys.executable, "-S", "-c", _ON_3_AND_4, str(hears[0]), str(says[1]), executable(), *OPTIONS,
            f"--user-data-dir={self._profile.name}", "--remote-debugging-pipe", "about:blank",
        ]  # fmt: skip
        self._process = subprocess.Popen(command, pass_fds=(hears[0], says[1]), stderr=subprocess.DEVNULL)
        os.close(hears[0])
        os.close(says[1])
        self._in, self._out = os.fdopen(hears[1], "wb"), os.fdopen(says[0], "rb")
        self._number, self._rest, self.events = 0, b"", []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._in.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._out.close()
        self._profile.cleanup()

    def call(self, method, session=None, **parameters):
        """Send a command and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        self._in.write(json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0")
        self._in.flush()
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self.events.append(answer)

    def wait(self, event, session):
        """Return when an event has come."""
        while True:
            for number, one in enumerate(self.events):
                if one.get("method") == event and one.get("sessionId") == session:
                    return self.events.pop(number)["params"]
            self.events.append(self._next())

    def open(self, path, *, width=1200, height=900, scheme="light"):
        """Open a file in a page of its own."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session, target)
        page.show(width=width, height=height, scheme=scheme)
        for domain in ("Page", "Runtime", "Log"):
            page.call(f"{domain}.enable")
        page.go(path)
        return page

    def _next(self):
        while b"\0" not in self._rest:
            piece = os.read(self._out.fileno(), 1 << 20)
            assert piece, "the browser has gone"
            self._rest += piece
        first, _, self._rest = self._rest.partition(b"\0")
        return json.loads(first)


class Page:
    """One page in a browser."""

    def __init__(self, browser, session, target):
        self._browser, self._session, self._target = browser, session, target

    def call(self, method, **parameters):
        """Send a command to this page."""
        return self._browser.call(method, self._session, **parameters)

    def go(self, path):
        """Open another file here."""
        self.call("Page.navigate", url=Path(path).absolute().as_uri())
        self._browser.wait("Page.loadEventFired", self._session)

    def close(self):
        """Close it."""
        self._browser.call("Target.closeTarget", targetId=self._target)

    def show(self, *, width=1200, height=900, scheme="light", media=""):
        """Set the window's size, and what the page is told of the reader's wishes; `media` is for instance print."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        wishes = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
        features = [{"name": name, "value": value} for name, value in wishes.items()]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)

    def ask(self, script):
        """Run JavaScript, in which `return` gives what was found."""
        done = self.call(
            "Runtime.evaluate", expression=f"(async () => {{ {script} }})()", awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def press(self, key, *, shift=False):
        """Press a key and let it go."""
        code = _KEYS[key]
        common = {
            "key": key,
            "code": "Space" if key == " " else key,
            "windowsVirtualKeyCode": code,
            "modifiers": 8 * shift,
        }
        text = {"Enter": "\r", " ": " "}.get(key)
        self.call("Input.dispatchKeyEvent", type="keyDown", **common, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def type(self, text):
        """Type into what has the focus."""
        self.call("Input.insertText", text=text)

    def spoken(self):
        """Return the accessibility tree: what a screen reader is told."""
        return [node for node in self.call("Accessibility.getFullAXTree")["nodes"] if not node["ignored"]]

    def logged(self):
        """Return what the page logged, its own errors and the browser's complaints."""
        names = {"Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"}
        return [e for e in self._browser.events if e.get("sessionId") == self._session and e["method"] in names]

    def picture(self, path, *, whole=True):
        """Write what is seen, or the whole page, as PNG."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        Path(path).write_bytes(base64.b64decode(shot["data"]))

    def paper(self, path):
        """Write the page as it is printed on A4."""
        done = self.call("Page.printToPDF", paperWidth=8.27, paperHeight=11.69, printBackground=False)
        Path(path).write_bytes(base64.b64decode(done["data"]))
