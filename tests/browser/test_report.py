"""The page of `apr report` in a browser: drawn without a network, used as a person would.

The binary is named by the environment variable APR, the browser by CHROMIUM (/usr/bin/chromium
without it). Screenshots are left in the folder SCREENSHOTS, if that is given.
"""
import json
import os
import pathlib
import shutil
import struct
import subprocess
import tempfile
import unittest

from playwright.sync_api import sync_playwright

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = ROOT / "tests" / "models" / "tiny-llama"
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync"
).split()
LOST = "model.layers.1.mlp.down_proj.weight"
CHANGED = "model.layers.2.self_attn.q_proj.weight"
HOSTILE = "</script><img src=x onerror=\"document.title='broken'\">\u202e.7.weight"


def apr(*arguments, fails=False):
    """Runs the binary, expects success, or that the model fails, and returns what it prints."""
    command = [os.environ["APR"], *(str(argument) for argument in arguments), "--json"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode != int(fails):
        raise AssertionError(f"apr {' '.join(command[1:])}: {ran.stderr}")
    return json.loads(ran.stdout)


def write(path, names):
    """Writes a SafeTensors file with small tensors of these names."""
    entry = lambda at: {"dtype": "F32", "shape": [2, 2], "data_offsets": [16 * at, 16 * at + 16]}
    header = json.dumps({name: entry(at) for at, name in enumerate(names)}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + struct.pack("<4f", 1, 2, 3, 4) * len(names))


def damaged(folder):
    """Copies the model with a NaN in one tensor and another value in a second."""
    shutil.copytree(MODEL, folder, ignore=shutil.ignore_patterns("goldens"))
    path = folder / "model.safetensors"
    file = bytearray(path.read_bytes())
    (length,) = struct.unpack("<Q", file[:8])
    header = json.loads(file[8:8 + length])
    for name, value in ((LOST, b"\xc0\x7f"), (CHANGED, b"\x00\x40")):
        at = 8 + length + header[name]["data_offsets"][0]
        file[at:at + 2] = value
    path.write_bytes(file)


class Report(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        file = cls.folder / "tiny.apr"
        apr("import", MODEL, "--quantize", "int4", "-o", file)
        cls.path = cls.folder / "report.html"
        cls.document = apr("report", file, "--against", MODEL, "-o", cls.path)
        cls.plain_path = cls.folder / "plain.html"
        apr("report", MODEL, "-o", cls.plain_path)
        cls.damaged_path = cls.folder / "damaged.html"
        damaged(cls.folder / "damaged")
        apr("report", cls.folder / "damaged", "--against", MODEL, "--no-eval", "-o", cls.damaged_path, fails=True)
        write(cls.folder / "hostile.safetensors", [HOSTILE])
        cls.hostile_path = cls.folder / "hostile.html"
        apr("report", cls.folder / "hostile.safetensors", "-o", cls.hostile_path)
        cls.shots = pathlib.Path(os.environ.get("SCREENSHOTS", cls.folder / "screenshots"))
        cls.shots.mkdir(parents=True, exist_ok=True)
        playwright = sync_playwright().start()
        cls.addClassCleanup(playwright.stop)
        # A fresh profile each time: `launch` makes one and removes it.
        executable = os.environ.get("CHROMIUM", "/usr/bin/chromium")
        cls.browser = playwright.chromium.launch(executable_path=executable, headless=True, args=FLAGS)
        cls.addClassCleanup(cls.browser.close)

    def open(self, path=None, width=1280, scheme="light"):
        """A page with its network off. What it says or asks for is wrong, and told at the end."""
        context = self.browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True,
            reduced_motion="reduce")
        self.addCleanup(context.close)
        page = context.new_page()
        page.set_default_timeout(10_000)
        complaints = []
        address = (path or self.path).as_uri()
        page.on("console", lambda message: complaints.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on("request", lambda request: request.url.split("#")[0] == address or complaints.append(f"request: {request.url}"))
        page.goto(address)
        # Charts are drawn once their places have a width.
        page.wait_for_selector("#histogram > *")
        self.addCleanup(lambda: self.assertEqual(complaints, []))
        return page

    def hover(self, element):
        """Brings an element into view, and points at it once the page stands still."""
        element.scroll_into_view_if_needed()
        element.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        element.hover()

    def names(self, page):
        return page.locator("#table tbody th").all_inner_texts()

    def unfold(self, page, part):
        """Shows a table, which is made when the browser tells that its part opens: a little later."""
        page.locator(f"{part} summary").click()
        page.locator(f"{part} tbody tr").first.wait_for()

    def test_the_head_says_what_the_document_says(self):
        page = self.open()
        self.assertEqual(page.title(), "tiny.apr · apr report")
        self.assertEqual(page.locator("h1").inner_text(), "tiny.apr")
        self.assertIn("PROVEN", page.locator("#verdict").inner_text())
        self.assertIn(self.document["verdict"]["seal"], page.locator("#seal").inner_text())
        figures = page.locator("#figures").inner_text()
        self.assertIn(f"{self.document['parameters']:,}", figures)
        self.assertIn(f"{self.document['bits_per_weight']:.2f}", figures)
        self.assertIn("int4", page.locator("#facts").inner_text())
        roles = {size["role"] for size in self.document["sizes"]}
        self.assertEqual(set(page.locator("#by-role tbody th").all_inner_texts()), roles)

    def test_a_cell_of_the_heat_map_shows_and_selects_its_tensor(self):
        page = self.open()
        name = "model.layers.2.mlp.down_proj.weight"
        tensor = next(tensor for tensor in self.document["tensors"] if tensor["name"] == name)
        cell = page.get_by_role("button", name="MLP down, layer 2:")
        error = 100 * tensor["certificate"]["relative_error"]
        self.assertAlmostEqual(float(cell.inner_text().rstrip(" %")), error, delta=0.006 * error)
        self.hover(cell)
        self.assertIn(name, page.locator("#tip").inner_text())
        self.assertIn(tensor["dtype"], page.locator("#tip").inner_text())
        cell.click()
        self.assertEqual(page.locator("#chosen").inner_text(), name)
        self.assertEqual(cell.get_attribute("aria-current"), "true")
        self.assertEqual(page.locator("#pick").input_value(), str(self.document["tensors"].index(tensor)))
        cell.focus()
        page.keyboard.press("ArrowUp")
        focused = page.evaluate("document.activeElement.getAttribute('aria-label')")
        self.assertTrue(focused.startswith("MLP down, layer 1:"), focused)
        page.keyboard.press("Enter")
        self.assertEqual(page.locator("#chosen").inner_text(), name.replace(".2.", ".1."))
        page.select_option("#metric", label="bits per weight")
        self.assertEqual(cell.inner_text(), f"{8 * tensor['size_bytes'] / tensor['elements']:.2f}")
        before = page.locator("button.cell").count()
        page.check("#vectors")
        self.assertEqual(page.locator("button.cell").count(), len(self.document["tensors"]))
        self.assertLess(before, len(self.document["tensors"]))

    def test_a_tensor_is_found_and_drawn(self):
        page = self.open()
        page.fill("#find", "layer 1 query")
        options = page.locator("#pick option").all_inner_texts()
        self.assertEqual(options, ["model.layers.1.self_attn.q_proj.weight"])
        page.select_option("#pick", label=options[0])
        tensor = next(tensor for tensor in self.document["tensors"] if tensor["name"] == options[0])
        self.assertEqual(page.locator("#chosen").inner_text(), options[0])
        self.assertEqual(page.locator("#histogram rect").count(), 64)
        self.assertEqual(page.locator("#histogram path.line-before").count(), 1)
        self.assertIn(options[0], page.locator("#histogram svg").get_attribute("aria-label"))
        rows = page.locator("#statistics tbody tr")
        self.assertEqual(rows.locator("th").all_inner_texts(), ["before", "after"])
        zeros = rows.nth(1).locator("td").nth(5).inner_text()
        self.assertEqual(zeros, f"{tensor['statistics']['zeros']:,}")
        self.assertIn(tensor["certificate"]["source_hash"], page.locator("#certificate").inner_text())
        heights = lambda: [float(bar.get_attribute("height")) for bar in page.locator("#histogram rect").all()]
        linear = heights()
        drawn = [at for at, count in enumerate(tensor["histogram"]["bins"]) if count > 0]
        self.assertEqual([at for at, height in enumerate(linear) if height > 0], drawn)
        page.check("#log-counts")
        self.assertGreater(sum(heights()), 1.5 * sum(linear))
        self.unfold(page, "#bars")
        cells = page.locator("#bars tbody tr td:last-child").all_inner_texts()
        self.assertEqual([int(cell.replace(",", "")) for cell in cells], tensor["histogram"]["bins"])

    def test_the_table_is_filtered_and_sorted(self):
        page = self.open()
        names = [tensor["name"] for tensor in self.document["tensors"]]
        self.assertEqual(self.names(page), names)
        page.fill("#filter", "mlp.up")
        found = [name for name in names if "mlp.up" in name]
        self.assertEqual(self.names(page), found)
        self.assertEqual(page.locator("#shown").inner_text(), f"{len(found)} of {len(names)} tensors")
        page.fill("#filter", "no such tensor")
        self.assertEqual(self.names(page), [])
        page.fill("#filter", "")
        header = page.get_by_role("columnheader", name="Max error")
        header.get_by_role("button").click()
        self.assertEqual(header.get_attribute("aria-sort"), "ascending")
        error = {tensor["name"]: tensor["certificate"]["max_error"] for tensor in self.document["tensors"]}
        errors = [error[name] for name in self.names(page)]
        self.assertEqual(errors, sorted(errors))
        # The button keeps the focus, so that the keyboard can go on.
        page.keyboard.press("Enter")
        self.assertEqual(header.get_attribute("aria-sort"), "descending")
        self.assertEqual([error[name] for name in self.names(page)], sorted(errors, reverse=True))
        page.locator("#table button.link").first.click()
        self.assertEqual(page.locator("#chosen").inner_text(), max(error, key=error.get))

    def test_the_divergence_is_drawn(self):
        page = self.open()
        found = self.document["divergence"]
        figures = page.locator("#text-figures").inner_text()
        self.assertIn(f"{found['perplexity']:.4f}", figures)
        self.assertIn(f"{found['reference_perplexity']:.4f}", figures)
        intro = page.locator("#text-intro").inner_text()
        for part in (found["text"], f"{found['tokens']:,} tokens", f"windows of {found['window']}"):
            self.assertIn(part, intro)
        self.assertEqual(page.locator("#along rect.fill-max").count(), len(found["along_text"]))
        self.assertEqual(page.locator("#in-window rect.fill-after").count(), len(found["in_window"]))
        self.unfold(page, "#kl-rows")
        self.assertEqual(page.locator("#kl-rows tbody tr").count(), len(found["along_text"]))
        self.hover(page.locator("#along svg"))
        self.assertIn("nats", page.locator("#tip").inner_text())
        plain = self.open(self.plain_path)
        self.assertFalse(plain.locator("#text").is_visible())
        self.assertIn("NOT CERTIFIED", plain.locator("#verdict").inner_text())
        self.assertEqual(plain.locator("#histogram rect").count(), 64)
        self.assertGreater(plain.locator("button.cell").count(), 20)

    def test_the_theme_follows_the_system_until_it_is_switched(self):
        colour = "getComputedStyle(document.body).backgroundColor"
        light, dark = self.open(), self.open(scheme="dark")
        light_colour, dark_colour = light.evaluate(colour), dark.evaluate(colour)
        self.assertNotEqual(light_colour, dark_colour)
        for page, other in ((light, dark_colour), (dark, light_colour)):
            button = page.locator("#theme")
            pressed = button.get_attribute("aria-pressed")
            button.click()
            self.assertNotEqual(button.get_attribute("aria-pressed"), pressed)
            self.assertEqual(page.evaluate(colour), other)
            button.click()
            self.assertEqual(button.get_attribute("aria-pressed"), pressed)

    def test_it_fits_every_screen(self):
        for width in (1280, 400):
            for scheme in ("light", "dark"):
                page = self.open(width=width, scheme=scheme)
                self.assertEqual(page.evaluate("document.documentElement.scrollWidth"), width)
                page.wait_for_selector("#histogram svg")
                shot = self.shots / f"report-{scheme}-{width}.png"
                page.screenshot(path=shot, full_page=True)
                self.assertGreater(shot.stat().st_size, 50_000)

    def test_a_screen_reader_finds_its_way(self):
        page = self.open()
        page.keyboard.press("Tab")
        self.assertEqual(page.evaluate("document.activeElement.className"), "skip")
        page.locator("#origin summary").click()
        for table in page.locator("table").all():
            self.assertTrue(table.locator("caption").inner_text().strip())
            self.assertEqual(table.locator("thead th:not([scope=col])").count(), 0)
            self.assertEqual(table.locator("tbody th:not([scope=row])").count(), 0)
        unnamed = """() => [...document.querySelectorAll("button, select, input, svg, section, summary")]
            .filter((element) => !(element.getAttribute("aria-label") || element.getAttribute("aria-labelledby")
                || element.labels?.length || element.textContent.trim())).map((element) => element.outerHTML)"""
        self.assertEqual(page.evaluate(unnamed), [])
        twice = """() => { const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
            return ids.filter((id, at) => ids.indexOf(id) !== at); }"""
        self.assertEqual(page.evaluate(twice), [])
        # One stop for the tabulator key in each part of the heat map.
        self.assertEqual(page.locator("#heat [tabindex='0']").count(), page.locator("#heat table").count())

    def test_every_text_stands_out_from_its_ground(self):
        # WCAG 2.2, success criterion 1.4.3: 4.5 to 1.
        measure = """() => {
            const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
            const rgb = (colour, under) => {
                context.fillStyle = under; context.fillRect(0, 0, 1, 1);
                context.fillStyle = colour; context.fillRect(0, 0, 1, 1);
                return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
            };
            const luminance = (colour) => colour.map((part) => part / 255)
                .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
                .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
            const ground = (element) => {
                for (let at = element; at; at = at.parentElement) {
                    const colour = getComputedStyle(at).backgroundColor;
                    if (colour !== "rgba(0, 0, 0, 0)") return colour;
                }
                return "white";
            };
            const found = [];
            for (const element of document.querySelectorAll("body *")) {
                const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
                if (!own || !element.checkVisibility() || ["SCRIPT", "STYLE", "NOSCRIPT"].includes(element.tagName)) continue;
                const style = getComputedStyle(element);
                const under = rgb(ground(element), "white");
                const text = element instanceof SVGElement ? style.fill : style.color;
                const [one, other] = [luminance(rgb(text, `rgb(${under})`)), luminance(under)];
                const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
                if (ratio < 4.5) found.push(`${element.tagName}.${element.getAttribute("class")} ${element.textContent.slice(0, 20)}: ${ratio.toFixed(2)}`);
            }
            return found;
        }"""
        for scheme in ("light", "dark"):
            page = self.open(scheme=scheme)
            page.check("#vectors")
            page.wait_for_selector("#histogram svg")
            self.assertEqual(page.evaluate(measure), [], scheme)

    def test_hostile_names_are_text(self):
        page = self.open(self.hostile_path)
        self.assertEqual(page.title(), "hostile.safetensors · apr report")
        shown = HOSTILE.replace("\u202e", "\\u202e")
        self.assertEqual(page.locator("#chosen").inner_text(), shown)
        self.assertEqual(self.names(page), [shown])
        self.assertEqual(page.locator("img").count(), 0)
        self.assertEqual(page.locator("script").count(), 2)

    def test_damage_catches_the_eye(self):
        page = self.open(self.damaged_path)
        self.assertIn("NOT PROVEN", page.locator("#verdict").inner_text())
        self.assertEqual(page.locator("#chosen").inner_text(), LOST)
        self.assertIn("NaN", page.locator("#certificate .problem").inner_text())
        self.assertIn("NaN", page.locator("#statistics thead").inner_text())
        failed = page.locator("button.cell.failed")
        self.assertEqual(failed.get_attribute("aria-label"), "MLP down, layer 1: could not be compared")
        coloured = page.locator("button.cell:not(.exact):not(.failed)")
        self.assertEqual(coloured.count(), 1)
        coloured.click()
        self.assertEqual(page.locator("#chosen").inner_text(), CHANGED)
        bad = page.locator("#table tbody tr:has(td.bad) th").all_inner_texts()
        self.assertEqual(bad, [LOST, CHANGED])

    def test_names_without_a_pattern_do_not_stop_the_browser(self):
        names = [f"layers.{at}.of_its_own_{at}" for at in range(700)]
        write(self.folder / "many.safetensors", names)
        path = self.folder / "many.html"
        apr("report", self.folder / "many.safetensors", "-o", path)
        page = self.open(path)
        self.assertIn("too many kinds", page.locator("#heat").inner_text())
        self.assertEqual(len(self.names(page)), 500)
        page.locator("#more").click()
        self.assertEqual(len(self.names(page)), 700)
        self.assertFalse(page.locator("#more").is_visible())
        page.fill("#find", "699")
        self.assertEqual(page.locator("#pick option").all_inner_texts(), ["layers.699.of_its_own_699"])

    def test_it_prints(self):
        page = self.open()
        path = self.shots / "report.pdf"
        page.pdf(path=path, format="A4")
        self.assertTrue(path.read_bytes().startswith(b"%PDF"))
        page.emulate_media(media="print", color_scheme="dark")
        self.assertEqual(page.evaluate("getComputedStyle(document.body).backgroundColor"), "rgb(255, 255, 255)")
        self.assertFalse(page.locator("#theme").is_visible())


if __name__ == "__main__":
    unittest.main()
