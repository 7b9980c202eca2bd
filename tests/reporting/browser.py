"""A headless Chromium: what a page's own script and style sheet make of it."""

import html
import json
import os
import re
import shutil
import subprocess
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
    "--enable-logging=stderr",
    "--v=0",
]

# Each width is a window of its own inside the harness; what `script` finds in a window is collected as JSON.
_HARNESS = """<!doctype html><meta charset="utf-8"><body><pre id="found"></pre>
{frames}
<script>
const script = async (window, document, width) => {{ {script} }};
addEventListener("load", async () => {{
  const found = [];
  for (const frame of document.querySelectorAll("iframe")) {{
    try {{ found.push(await script(frame.contentWindow, frame.contentDocument, frame.width)); }}
    catch (problem) {{ found.push({{ problem: String(problem) + problem.stack }}); }}
  }}
  document.getElementById("found").textContent = JSON.stringify(found);
}});
</script>"""


def executable():
    """The browser that `TB_BROWSER` names, or one on the path; None if there is none."""
    named = os.environ.get("TB_BROWSER")
    return named or next(filter(None, map(shutil.which, NAMES)), None)


def opened(page, *options):
    """Load a file and return its document after scripts, and what the browser logged."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        done = subprocess.run(
            [executable(), *OPTIONS, f"--user-data-dir={profile}", *options, "--dump-dom", Path(page).as_uri()],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def ask(folder, page, script, widths):
    """Run `script` (JavaScript; `return` what was found) in windows of several widths.

    Returns what it found in each, and the lines of the console.
    """
    frames = "\n".join(
        f'<iframe width="{width}" height="900" style="border:0" srcdoc="{html.escape(page)}"></iframe>'
        for width in widths
    )
    harness = folder / "harness.html"
    harness.write_text(_HARNESS.format(frames=frames, script=script))
    document, console = opened(harness, "--virtual-time-budget=20000", "--window-size=1400,1000")
    found = re.search(r'<pre id="found">(.*?)</pre>', document, flags=re.DOTALL)
    return json.loads(html.unescape(found[1])), console
