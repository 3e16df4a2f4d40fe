"""Pages of results: the verdict first, all numbers of the figures, nothing from elsewhere, and nothing executed."""

import dataclasses
import html
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest

import browser
import ntkspec as ns
from commands import run, unpainted
from ntkspec import storage
from ntkspec.experiments.analyze import RECORD_TYPES
from ntkspec.experiments.headline import headline
from ntkspec.experiments.spectrum import SPECTRUM_TYPES
from ntkspec.experiments.statements import CHECK_TYPES
from ntkspec.experiments.sweep_cells import Cell
from ntkspec.experiments.sweep_series import series
from ntkspec.experiments.verdict import verdict
from ntkspec.reporting.page import elements
from ntkspec.reporting.page.typeset import Given, typeset
from ntkspec.storage.sweeps import open_sweep

LARGEST = 1_000_000
# What makes a file of each kind, and where that lies.
COMMANDS = {
    "analyze": ("analyze --n 60 --d 6 --n-test 10 --width 8 --steps 8 --output out", "analysis"),
    "spectrum": ("spectrum --n 60 --d 6 --n-test 0 --width 8 --pairs 4 --output out", "spectrum"),
    "check": ("check claim-3.1 --d 4 6 8 --n 20 --seeds 2 --activation erf relu --output out", "check"),
    "sweep": ("sweep --quantity gap-first --d 4 6 9 --n 20 d^1.5 --width 8 --seeds 2 --output out/sweep.h5", "sweep"),
    "runs": ("figure 1 --d 4 --n 40 --width 4 --steps 5 --n-test 10 --dimensions 4 8 --output out", "figure-1"),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """{kind: its file}, with its page beside it."""
    found = {}
    with pytest.MonkeyPatch.context() as patched, unpainted(pages=True):
        for kind, (line, name) in COMMANDS.items():
            folder = tmp_path_factory.mktemp(kind)
            patched.chdir(folder)
            assert run(line).code == 0
            found[kind] = folder / "out" / f"{name}.h5"
    folder = tmp_path_factory.mktemp("result")
    K = np.diag(np.linspace(1.0, 4.0, 9))
    results = {"norm": ns.spectral_norm(K), "pairs": ns.eigsh(K, 2), "density": ns.spectral_density(K)}
    results["run"] = ns.predict_gd(K, np.ones(9), eta=0.5, steps=[0, 1, 5])
    ns.save_result(results, folder / "result.h5")
    said = run(f"report {folder / 'result.h5'}")
    assert (said.code, said.err) == (0, [])
    assert str(folder / "result.html") in said.out
    return found | {"result": folder / "result.h5"}


KINDS = [*COMMANDS, "result"]


class Page(HTMLParser):
    """The tags of a page, what its tables and its text say, and which tags were not closed."""

    VOID = ("meta", "link", "path", "use", "br")

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.rows, self.cell, self.words = [], [], [], None, []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.cell = ""
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag in ("td", "th"):
            self.rows[-1].append(self.cell)
            self.cell = None

    def handle_data(self, data):
        if self.cell is not None:
            self.cell += data
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)


@pytest.fixture(scope="module")
def pages(files):
    return {kind: Page(path.with_suffix(".html").read_text(encoding="utf-8")) for kind, path in files.items()}


# ------------------------------------------------------------------------------------------------------------- content
@pytest.mark.parametrize("kind", KINDS)
def test_a_page_is_small_whole_and_alone(kind, files, pages):
    text = files[kind].with_suffix(".html").read_text(encoding="utf-8")
    assert len(text.encode()) < LARGEST
    assert set(re.findall(r"https?://[^\"'<\s]+", text)) == {"https://arxiv.org/abs/2006.14599"}
    loading = {name for _, own in pages[kind].tags for name in own if name in ("src", "srcset", "data", "action")}
    assert not loading
    assert {own["href"] for tag, own in pages[kind].tags if tag == "link"} == {"data:,"}
    ids = [own["id"] for _, own in pages[kind].tags if "id" in own]
    assert len(ids) == len(set(ids))
    linked = {own["href"] for tag, own in pages[kind].tags if tag in ("a", "use") and own["href"].startswith("#")}
    clips = set(re.findall(r"url\(#([^)]+)\)", text))
    assert {name.removeprefix("#") for name in linked} | clips <= set(ids)


@pytest.mark.parametrize("kind", KINDS)
def test_each_picture_says_what_it_shows(kind, pages):
    pictures = [own for tag, own in pages[kind].tags if tag == "svg"]
    assert pictures
    for own in pictures:
        assert own["role"] == "img"
        assert len(own["aria-label"]) > 10


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[] if kind in ("analyze", "sweep") else pytest.mark.slow) for kind in KINDS]
)
def test_the_same_file_gives_the_same_page(kind, files, monkeypatch):
    """Also where its command wrote the page, from what it had in memory."""
    file = files[kind]
    if kind in COMMANDS:
        monkeypatch.chdir(file.parents[1])
        file = file.relative_to(file.parents[1])
    assert ns.report(file).html == file.with_suffix(".html").read_text(encoding="utf-8")


def test_an_analysis_says_its_verdict_first_and_all_numbers(files, pages):
    tree = storage.read(files["analyze"], kind="analyze", types=RECORD_TYPES)
    found, page = tree["analysis"], pages["analyze"]
    text = "".join(page.words)
    said = [str(headline(found)), *verdict(found)]  # what the command prints first, too
    places = [text.find(html.unescape(re.sub("<.*?>", "", typeset(line)))) for line in said]
    assert -1 < places[0] < places[1] < min(places[2:])
    assert max(places) < text.index("Kernel at initialization", max(places))
    for name, one in (("‖Θ‖", found.kernel.theta), ("‖Θ\xa0−\xa0Θlin‖", found.kernel.gap)):
        (row,) = (row for row in page.rows if row and row[0] == name and len(row) == 7)
        assert [float(cell) for cell in row[1:5]] == pytest.approx(
            [one.value, one.lower, one.upper, one.failure_probability], rel=1e-5
        )
    last = [row[1:] for row in page.rows if row[:1] == [str(found.steps[-1])]]
    numbers = {float(cell) for row in last for cell in row if re.fullmatch(r"[-+.e\d]+", cell)}
    for model in ("network", "ntk", "linear"):
        for part in ("train", "test"):
            assert any(abs(number / found.losses[model][part][-1] - 1) < 1e-5 for number in numbers)
    assert tree["provenance"]["command"] in text
    assert tree["provenance"]["fingerprint"] in text


def test_a_spectrum_lists_its_eigenvalues_and_intervals(files, pages):
    record = storage.read(files["spectrum"], kind="spectrum", types=SPECTRUM_TYPES)["spectrum"]
    listed = [float(row[1]) for row in pages["spectrum"].rows if len(row) == 6 and row[0].isdigit()]
    np.testing.assert_allclose(listed, record.leading.values, rtol=1e-5)
    (row,) = (row for row in pages["spectrum"].rows if row[0] == "effective rank, trace / norm")
    assert float(row[2]) == pytest.approx(record.effective_rank.lower, rel=1e-5)
    assert float(row[3]) == pytest.approx(record.effective_rank.upper, rel=1e-5)


def test_a_check_says_each_verdict_with_its_evidence(files, pages):
    checks = storage.read(files["check"], kind="check", types=CHECK_TYPES)["checks"]
    text = "".join(pages["check"].words)
    assert {one.setting for one in checks} == {"gaussian data, covariance identity"}
    for one in checks:
        assert f"{one.verdict}{one.setting}" in text
        for finding in one.findings:
            assert html.unescape(re.sub("<.*?>", "", typeset(finding.evidence))) in text


def test_a_sweep_lists_every_cell_and_fits_what_can_be_fitted(pages):
    rows = pages["sweep"].rows
    cells = [row for row in rows if row[:1] == ["gap-first"]]
    assert len(cells) == 2 * 3 * 2  # two laws of n, three d, two seeds
    assert {row[0] for row in rows if len(row) == 6 and row[1] == "spectral"} == {
        "erf, n = 20, m = 8".replace(" = ", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}"),
        "erf, n = d1.5, m = 8".replace(" = ", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}"),
    }


def test_panels_of_a_sweep_stand_alone(pages):
    """Each has the label and the legend lines that are outside of its axes."""
    pictures = [own for tag, own in pages["sweep"].tags if tag == "svg"]
    assert len(pictures) == 2
    assert all("(d/n) × ‖Θ − Θ^lin‖ over d" in own["aria-label"] for own in pictures)


def test_the_page_of_a_sweep_says_who_made_it(pages, files):
    (made,) = ns.load_result(files["sweep"]).made_with
    said = "".join(pages["sweep"].words)
    assert made["command"].startswith("ntkspec sweep --quantity gap-first")
    assert all(str(made[name]) in said for name in ("command", "time", "machine", "measured"))


def test_a_sweep_in_python_has_the_page_of_its_file(files):
    sweep = ns.load_result(files["sweep"])
    assert Page(ns.report(sweep).html).rows == Page(ns.report(files["sweep"]).html).rows
    assert [type(one).__name__ for one in ns.load_result(files["check"])] == ["Check", "Check"]


def test_results_in_python_need_no_file(tmp_path):
    norm = ns.spectral_norm(np.diag([3.0, 4.0]))
    page = ns.report(norm, tmp_path / "norm.html")
    assert (tmp_path / "norm.html").read_text(encoding="utf-8") == page.html
    assert str(norm) in html.unescape(page.html)
    assert html.unescape(re.search('srcdoc="(.*?)"', page._repr_html_(), re.DOTALL)[1]) == page.html
    assert "There is no result in it" in ns.report({}).html


def test_numbers_that_are_none_are_shown_as_none(files):
    found = storage.read(files["analyze"], kind="analyze", types=RECORD_TYPES)["analysis"]
    one = found.comparisons["network-linear"]["test"]
    odd = dataclasses.replace(one, relative=np.full(len(one.relative), np.inf))
    pairs = found.comparisons | {"network-linear": found.comparisons["network-linear"] | {"test": odd}}
    page = Page(ns.report(dataclasses.replace(found, comparisons=pairs, nearest=None)).html)
    assert any("∞" in row for row in page.rows)


# ---------------------------------------------------------------------------------------------------- what users give
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;\x1b[31m"


def test_whatever_users_give_is_text(files):
    found = storage.read(files["analyze"], kind="analyze", types=RECORD_TYPES)
    analysis = found["analysis"]
    meta = analysis.dataset["meta"] | {"reading": [EVIL]}
    task = dataclasses.replace(analysis.task, activation=EVIL)
    odd = dataclasses.replace(analysis, dataset=analysis.dataset | {"name": EVIL, "meta": meta}, task=task)
    for page in (ns.report(odd).html, ns.report({EVIL: EVIL, "list": [EVIL]}).html):
        tags = Page(page).tags
        assert not any(tag == "img" or name.startswith("on") for tag, own in tags for name in own)
        assert [tag for tag, _ in tags].count("script") == 1
        assert "\x1b" not in page


@pytest.mark.parametrize("value", [EVIL, Given(EVIL)])
def test_tables_facts_and_names_escape(value):
    parts = [
        elements.Table([value], [[value]], value),
        elements.Facts([(value, value)]),
        elements.Words([value, value], "claim"),
        elements.Judged([("holds", value, value)]),
        elements.Tile(value, value),
    ]
    for text in [*(part.html() for part in parts), elements.Section(value, []).html("part-1")]:
        assert not re.search("<(script|img)", text)
        assert "\x1b" not in text


def test_text_of_the_reports_becomes_mathematics_and_that_of_users_stays():
    said = "||Theta - Theta^lin||_F falls as d^-0.25, n >~ d^(1 + alpha), --eta <= sqrt d"
    space = "\N{NO-BREAK SPACE}"
    assert typeset(said) == (
        f"‖Θ{space}−{space}Θ<sup>lin</sup>‖<sub>F</sub> falls as d<sup>−0.25</sup>, n ≳ d<sup>1 + α</sup>, --eta ≤ √d"
    )
    assert typeset(Given("Theta^lin/beta.csv")) == "Theta^lin/beta.csv"


def test_much_stays_small(tmp_path):
    with open_sweep(tmp_path / "sweep.h5", Cell) as file:
        numbers = dict.fromkeys(("gap", "frobenius", "hollow", "hollow frobenius", "linear"), 1 / 3)
        for k in range(42):
            cells = [Cell("gap-first", d, 50 + k, width=8) for d in range(4, 14)]
            file.results.update({cell: {name: one + cell.d for name, one in numbers.items()} for cell in cells})
        file.add(Cell("gap-both", 4, 20, width=0), numbers)
    page = ns.report(tmp_path / "sweep.h5")
    assert len(page.html.encode()) < LARGEST
    assert "more rows are in the file" in page.html
    assert "more series are not drawn" in page.html
    many = ns.report({f"entry {k}": "x" * 5000 for k in range(3000)})
    assert len(many.html.encode()) < LARGEST
    assert "2800 more entries are not shown" in many.html


def test_series_of_a_sweep_hold_each_cell_once():
    sizes = [(d, n, m, s) for d in (4, 8, 16) for n in (50, d * d) for m in (8, 2 * d) for s in (0, 1)]
    results = {Cell("gap-first", d, n, width=m, seed=s): {"gap": 1.0} for d, n, m, s in sizes}
    found = series(results)
    assert sum(len(own) for own in found.values()) == len(results)
    assert set(found) == {
        "erf, n = 50, m = 8",
        "erf, n = 50, m ~ 2 d^1.00",
        "erf, n ~ d^2.00, m = 8",
        "erf, n ~ d^2.00, m ~ 2 d^1.00",
    }


# ------------------------------------------------------------------------------------------------------------ refusals
def test_what_has_no_report_is_refused_in_one_line(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ns.TwoLayer.symmetric(4, 8, "erf").save("net.h5")
    (tmp_path / "text.h5").write_text("no HDF5 at all")
    damaged = bytearray(files["analyze"].read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "damaged.h5").write_bytes(damaged)
    shutil.copy(files["result"], "kept.html")
    said = {
        "kept.html": "kept.html is the file of results itself",
        "net.h5": "net.h5 is a network, which has no report",
        "text.h5": "text.h5 is damaged",
        "damaged.h5": "damaged.h5 is damaged",
        "none.h5": "none.h5 does not exist",
        f"{files['analyze']} -o page.pdf": "page.pdf is no name of a page",
        f"{files['analyze']} -o none/there/../page.h5": "page.h5 is no name of a page",
        ".": "is a folder",
    }
    for words, reason in said.items():
        found = run(f"report {words}")
        assert (found.code, found.out, len(found.err)) == (2, "", 1), words
        assert reason in found.err[0]
    assert [path.name for path in tmp_path.glob("*.html")] == ["kept.html"]
    assert not (tmp_path / "none").exists()


def test_a_page_is_written_whole_or_not_at_all(files, tmp_path, monkeypatch):
    place = tmp_path / "page.html"
    place.write_text("before")

    def failing(*given):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage.places.os, "fsync", failing)
    with pytest.raises(OSError, match="No space left"):
        ns.report(files["result"], place)
    assert place.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


# ------------------------------------------------------------------------------------------------------------- browser
LOOK = """(page, view) => {
  const figures = [...page.querySelectorAll("svg")], tables = [...page.querySelectorAll("details")];
  for (const one of tables) one.open = true;
  const shown = figures.every((one) => one.getBoundingClientRect().height > 50);
  const table = page.querySelector("details table"), body = table.tBodies[0], column = table.rows[0].cells.length - 1;
  const values = () => [...body.rows].map((row) => row.cells[column].textContent);
  const before = values(), head = table.rows[0].cells[column].querySelector("button");
  head.click();
  const up = values(), said = table.rows[0].cells[column].getAttribute("aria-sort");
  head.click();
  return {
    width: page.documentElement.scrollWidth, wanted: view.innerWidth, figures: figures.length, shown, said,
    before, up, down: values(), loaded: view.performance.getEntriesByType("resource").length,
  };
}"""


@pytest.mark.skipif(browser.BROWSER is None, reason="no Chromium is installed (apt-get install chromium)")
def test_pages_open_in_a_browser_on_a_phone_and_on_a_desk(files, tmp_path):
    asked = {
        f"{kind} {width}": (path.with_suffix(".html"), width) for kind, path in files.items() for width in (360, 1200)
    }
    found, console = browser.seen(asked, LOOK, tmp_path)
    assert console == []
    assert found.keys() == asked.keys()
    for name, one in found.items():
        assert isinstance(one, dict), (name, one)
        assert one["width"] <= one["wanted"], name
        assert one["figures"] >= 1
        assert one["shown"], name
        assert one["loaded"] == 0
        numbers = [float(text.replace("∞", "inf")) for text in one["before"]]
        assert [float(text.replace("∞", "inf")) for text in one["up"]] == sorted(numbers), name
        assert [float(text.replace("∞", "inf")) for text in one["down"]] == sorted(numbers, reverse=True), name
        assert one["said"] == "ascending"


def test_the_page_s_parts_are_in_the_package():
    folder = shutil.os.path.dirname(elements.__file__)
    assert {"template.html", "style.css", "script.js"} <= set(shutil.os.listdir(folder))
