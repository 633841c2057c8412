"""The page in a browser, where there is one: no error, no overflow, tables that sort and filter."""

import html as markup
import json
import shutil
import subprocess

import pytest

from tests.zqc.report.html.pages import HOSTILE, diagnosed, full
from zqc.report.html.render import render

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")

WATCH = "<script>window.errors = []; onerror = (what) => { errors.push(what); };</script></head>"

PROBE = """<script>
  const rows = () => [...document.getElementById("layer-table").tBodies[0].rows]
    .filter((row) => !row.hidden).map((row) => row.cells[0].textContent);
  const heads = [...document.getElementById("layer-table").tHead.rows[0].cells];
  const alone = heads.find((head) => head.textContent.startsWith("Boxes"));
  const said = { before: rows(), width: document.documentElement.scrollWidth, room: innerWidth };
  alone.firstChild.click(); said.falling = [alone.getAttribute("aria-sort"), ...rows()];
  alone.firstChild.click(); said.rising = [alone.getAttribute("aria-sort"), ...rows()];
  const filter = document.querySelector("[data-filter]");
  filter.value = "DEPTHWISE"; filter.dispatchEvent(new Event("input"));
  said.filtered = [document.querySelector("[data-count]").textContent, ...rows()];
  document.querySelector("[data-theme-toggle]").click();
  said.theme = document.documentElement.dataset.theme;
  document.querySelector("[data-view=overlaid]").click();
  said.overlaid = document.querySelector("[data-pictures]").className;
  document.querySelector(".shape.lost").dispatchEvent(new Event("focus"));
  said.readout = document.querySelector("[data-readout]").textContent;
  said.errors = window.errors;
  parent.postMessage(JSON.stringify(said), "*");
</script></body>"""

FRAME = """<iframe src="page.html" style="width:{width}px;height:900px;border:0"></iframe>
<pre></pre>
<script>onmessage = (e) => {{ document.querySelector("pre").textContent = e.data; }};</script>"""


ORDER_PROBE = """<script>
  const table = document.getElementById("layer-table");
  const rows = () => [...table.tBodies[0].rows].map((row) => row.cells[0].textContent);
  const pressed = () => [...document.querySelectorAll("[data-order]")]
    .map((button) => button.getAttribute("aria-pressed"));
  const said = { before: rows() };
  document.querySelector("[data-order=place]").click(); said.graph = [...pressed(), ...rows()];
  document.querySelector("[data-order=rank]").click(); said.worst = [...pressed(), ...rows()];
  table.tHead.rows[0].cells[0].firstChild.click(); said.sorted = [...pressed(), ...rows()];
  said.width = document.documentElement.scrollWidth; said.errors = window.errors;
  parent.postMessage(JSON.stringify(said), "*");
</script></body>"""


def probed(page, folder, width, probe=PROBE):
    """What a script finds on a page of some width, in a frame: windows cannot be so narrow."""
    text = render(page).replace("</head>", WATCH).replace("</body>", probe)
    (folder / "page.html").write_text(text, encoding="utf-8")
    (folder / "frame.html").write_text(FRAME.format(width=width), encoding="utf-8")
    arguments = [
        *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *(f"--user-data-dir={folder / 'profile'}", "--window-size=1440,900"),
        *("--virtual-time-budget=2000", "--dump-dom", (folder / "frame.html").as_uri()),
    ]
    dom = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=True).stdout
    return json.loads(markup.unescape(dom.partition("<pre>")[2].partition("</pre>")[0]))


@pytest.fixture(scope="module")
def phone(tmp_path_factory):
    """What is found on the narrowest page, with names that are long and hostile."""
    return probed(full("a/very/long/name" * 9 + HOSTILE), tmp_path_factory.mktemp("phone"), 390)


def test_no_error(phone):
    """No script fails, hostile names or not."""
    assert phone["errors"] == []


def test_a_phone_need_not_scroll_sideways(phone):
    """Tables scroll in themselves; the page is as wide as the phone."""
    assert phone["room"] == 390
    assert phone["width"] <= 390


def test_tables_sort(phone):
    """A press on a heading sorts by its numbers, another one turns the order; unknown ones last."""
    assert phone["before"] == ["1", "2", "3"]
    assert phone["falling"] == ["descending", "1", "3", "2"]
    assert phone["rising"] == ["ascending", "3", "1", "2"]


def test_layers_are_filtered(phone):
    """What is typed picks layers, whatever the case of the letters, and they are counted."""
    assert phone["filtered"] == ["1 of 3 layers", "3"]


def test_buttons(phone):
    """Colours, the way both models are shown, and the score of a box that is pointed at."""
    assert phone["theme"] == "light"
    assert "overlaid" in phone["overlaid"]
    assert phone["readout"].startswith("float: ")
    assert "0.40 · lost" in phone["readout"]


def test_layers_in_two_orders(tmp_path):
    """Worst first or in the order of the graph, until a heading sorts; wide tables fit a phone."""
    found = probed(diagnosed("a/very/long/name" * 9 + HOSTILE), tmp_path, 390, ORDER_PROBE)
    assert found["errors"] == []
    assert found["width"] <= 390
    assert found["before"] == ["2", "1", "3"]
    assert found["graph"] == ["false", "true", "1", "2", "3"]
    assert found["worst"] == ["true", "false", "2", "1", "3"]
    assert found["sorted"] == ["false", "false", "3", "2", "1"]
