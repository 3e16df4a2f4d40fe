"""Pages in a browser without a window: what they look like at a width, and what happens on a click."""

import json
import re
import shutil
import subprocess
from pathlib import Path

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# Of this page's own console, not of the browser's services.
_CONSOLE = re.compile(r"CONSOLE.*")
_ASKED = """<!DOCTYPE html><meta charset="utf-8"><pre id="found"></pre><script>
const found = {{}}, pages = {pages}, look = {look};
for (const [name, [address, width]] of Object.entries(pages)) {{
  const frame = document.createElement("iframe");
  frame.style = `width: ${{width}}px; height: 900px; border: 0`;
  frame.src = address;
  frame.onload = () => {{
    try {{ found[name] = look(frame.contentDocument, frame.contentWindow); }}
    catch (error) {{ found[name] = String(error); }}
    document.getElementById("found").textContent = JSON.stringify(found);
  }};
  document.body.append(frame);
}}
</script>"""


def seen(pages: dict[str, tuple[Path, int]], look: str, folder: Path) -> tuple[dict, list[str]]:
    """{name: what ``look`` returns} of {name: (page, width)}, and what stands on the console.

    look : JavaScript, a function of the page's document and window.
    """
    asked = {name: (page.resolve().as_uri(), width) for name, (page, width) in pages.items()}
    place = folder / "asked.html"
    place.write_text(_ASKED.format(pages=json.dumps(asked), look=look), encoding="utf-8")
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--allow-file-access-from-files",
        "--enable-logging=stderr",
    ]
    options += ["--virtual-time-budget=5000", f"--user-data-dir={folder / 'browser'}", "--dump-dom", place.as_uri()]
    run = subprocess.run([BROWSER, *options], capture_output=True, text=True, timeout=100, check=True)
    answer = re.search(r'<pre id="found">(.*?)</pre>', run.stdout, re.DOTALL)
    text = answer[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    return json.loads(text), _CONSOLE.findall(run.stderr)
