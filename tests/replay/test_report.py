# SPDX-License-Identifier: Apache-2.0
"""The page of a report in a browser: it shows what the JSON says, and needs nothing but itself.

usage: test_report.py CASE; COFRIS_BUILD names the build folder.
"""

import html
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

BUILD = os.environ["COFRIS_BUILD"]
SOURCE = os.environ["COFRIS_SOURCE"]
SKIP = 77

# Reads the page as it is shown, and leaves what it has read as the page.
PROBE = """
<script>
document.querySelectorAll('details').forEach(d => d.open = true);
const box = e => { const r = e.getBoundingClientRect(); return [r.width, r.height]; };
const numbers = s => s.trim().split(/[ ,]+/).map(Number);
const result = {
  title: document.title,
  text: document.body.innerText.slice(0, 2000),
  resources: performance.getEntriesByType('resource').map(r => r.name),
  foreign: document.querySelectorAll('img,iframe,object,embed,link,b').length,
  ids: [...document.querySelectorAll('[id]')].map(e => e.id),
  tables: [...document.querySelectorAll('table')].map(t => ({
    rows: t.dataset.rows, slo: t.dataset.slo, box: box(t),
    keys: [...t.tHead.rows[0].cells].map(c => c.dataset.key),
    cells: [...t.tBodies[0].rows].map(r => [...r.cells].map(c => c.textContent)),
  })),
  figures: [...document.querySelectorAll('figure')].map(f => {
    const svg = f.querySelector('svg');
    return {
      kind: f.dataset.figure, box: box(svg), viewBox: numbers(svg.getAttribute('viewBox')),
      polygons: svg.querySelectorAll('polygon').length, label: svg.getAttribute('aria-label'),
      texts: [...svg.querySelectorAll('text')].map(t => t.textContent.trim()),
      plots: [...svg.querySelectorAll('g[id*=gnuplot_plot]')].map(g => ({
        box: box(g),
        shapes: g.querySelectorAll('path,polygon,use,circle').length,
        bars: [...g.querySelectorAll('polygon')].map(p => {
          const n = numbers(p.getAttribute('points'));
          return [n[0], n[1] - n[5]];
        }),
      })),
    };
  }),
};
const pre = document.createElement('pre');
pre.id = 'probe';
pre.textContent = JSON.stringify(result);
document.body.replaceChildren(pre);
</script>
"""


def check(condition, text):
    if not condition:
        raise AssertionError(text)


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            print(f"skipped: no {program}")
            sys.exit(SKIP)


def run(*command, ok=(0,)):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=150)
    check(done.returncode in ok, f"{command}: exit status {done.returncode}: {done.stderr}")
    return done


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def browse(folder):
    """What a browser makes of folder/report.html."""
    page = read(os.path.join(folder, "report.html"))
    check("<script" not in page, "the page has a script")
    check(page.count("</body>") == 1, "not one body")
    probe = os.path.join(folder, "probe.html")
    with open(probe, "w", encoding="utf-8") as f:
        f.write(page.replace("</body>", PROBE + "</body>"))
    with tempfile.TemporaryDirectory() as profile:
        dom = run("chromium", "--headless", "--no-sandbox", "--disable-gpu",
                  "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
                  "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={profile}",
                  "--window-size=1280,2000", "--dump-dom", "file://" + probe).stdout
    found = re.search(r'<pre id="probe">(.*?)</pre>', dom, re.DOTALL)
    check(found, "the page was not read")
    return json.loads(html.unescape(found.group(1)))


def check_addresses(folder):
    """No reference in the page leads out of it."""
    page = read(os.path.join(folder, "report.html"))
    for target in re.findall(r"""(?:\bsrc|href)\s*=\s*["']([^"']*)""", page) + \
            re.findall(r"url\(([^)]*)", page):
        check(target.startswith("#"), f"the page refers to {target}")
    check("@import" not in page, "the page imports a style")


def visible(text):
    """Control characters are shown as '?'."""
    return "".join("?" if ord(c) < 32 or ord(c) == 127 else c for c in text)


def check_cell(shown, value, where):
    if value is None:
        check(shown == "-", f"{where}: {shown!r} for null")
    elif isinstance(value, bool):
        check(shown == ("yes" if value else "no"), f"{where}: {shown!r} for {value}")
    elif isinstance(value, dict):
        ends = shown.split("..") if value["low"] is not None else [shown, shown]
        for end, key in zip(ends, ("low", "high"), strict=True):
            check_cell(end, value[key], where)
    elif isinstance(value, str):
        check(shown == visible(value), f"{where}: {shown!r} for {value!r}")
    else:
        decimals = len(shown.partition(".")[2])
        check(abs(float(shown) - value) <= 0.50001 * 10 ** -decimals,
              f"{where}: {shown} for {value}")


def check_tables(seen, objects):
    """Each object has both tables, with every row and every value."""
    by_name = {(t["rows"], t["slo"]): t for t in seen["tables"]}
    check(len(by_name) == len(seen["tables"]) == 2 * len(objects), "wrong number of tables")
    for o in objects:
        for which in ("results", "geomean"):
            table = by_name[which, o["slo"]]
            check(len(table["cells"]) == len(o[which]) > 0, f"{which}: wrong number of rows")
            check(min(table["box"]) > 10, f"{which}: not visible")
            for row, cells in zip(o[which], table["cells"]):
                for key, shown in zip(table["keys"], cells, strict=True):
                    check_cell(shown, row[key], f"{which} {row['policy']} {key}")
    asked = {"model", "policy", "slo_ms", "rated_rps", "requests", "mean_power_w", "power_vs_auto",
             "power_vs_maximum", "energy_per_request_j", "idle_energy_pct", "p50_ms", "p95_ms",
             "p99_ms", "request_attainment_pct", "excess_late_pct", "excess_bad_windows",
             "changes", "mean_sclk_mhz", "mean_cus", "mean_batch", "regret_pct", "missed_pct",
             "power_vs_auto_range"}
    check(set(by_name["results", objects[0]["slo"]]["keys"]) == asked, "columns are missing")


def check_bars(figure, policies, values, where):
    """values[policy index]: of each group. The first plot is the line at 1; a plot's first bar is
    its sample in the key."""
    plots = figure["plots"][1:]
    check(len(plots) == len(policies), f"{where}: {len(plots)} plots of {len(policies)} policies")
    scales = []
    for plot, column, policy in zip(plots, values, policies):
        drawn = sorted(plot["bars"][1:])
        wanted = [v for v in column if v is not None]
        check(len(drawn) == len(wanted), f"{where} {policy}: {len(drawn)} bars of {len(wanted)}")
        scales += [(height, value) for (_, height), value in zip(drawn, wanted)]
    per_one = max(height for height, _ in scales) / max(value for _, value in scales)
    for height, value in scales:
        check(abs(height - per_one * value) < 1.5, f"{where}: a bar of {height} px is {value}")


def check_figures(seen, objects, wanted):
    """Everything is drawn, and bars are as high as the JSON says."""
    kinds = [f["kind"] for f in seen["figures"]]
    for kind, n in wanted.items():
        check(kinds.count(kind) == n, f"{kinds.count(kind)} figures of {kind}, expected {n}")
    check(sum(wanted.values()) == len(kinds), f"other figures: {kinds}")
    for figure in seen["figures"]:
        where = figure["kind"]
        check(min(figure["box"]) > 100, f"{where}: not visible")
        check(figure["viewBox"][:2] == [0, 0] and min(figure["viewBox"][2:]) >= 300,
              f"{where}: viewBox {figure['viewBox']}")
        check(len(figure["label"]) > 20, f"{where}: no text in its place")
        check(figure["plots"], f"{where}: nothing plotted")
        drawn = [p for p in figure["plots"] if p["shapes"] > 0 and max(p["box"]) > 3]
        if where == "surface":  # gnuplot draws their cells outside of the plots' groups
            check(figure["polygons"] > 200, f"{where}: {figure['polygons']} cells")
        else:
            check(drawn == figure["plots"], f"{where}: an empty plot")
    o = objects[0]
    policies = [m["policy"] for m in o["geomean"]]
    models = list(dict.fromkeys(r["model"] for r in o["results"]))
    power = [[r["power_vs_auto"] for r in o["results"] if r["policy"] == p] +
             [m["power_vs_auto"] for m in o["geomean"] if m["policy"] == p] for p in policies]
    figure = seen["figures"][kinds.index("power")]
    check_bars(figure, policies, power, "power")
    check(set(policies + ["geomean"]) <= set(figure["texts"]), "power: names are missing")
    check(len(power[0]) == len(models) + 1, "power: not all models")
    if len(objects) > 1:
        check_bars(seen["figures"][kinds.index("slo")], policies,
                   [[m["power_vs_auto"] for x in objects for m in x["geomean"]
                     if m["policy"] == p] for p in policies], "slo")


def check_page(folder, wanted):
    seen = browse(folder)
    with open(os.path.join(folder, "results.json"), encoding="utf-8") as f:
        objects = [json.loads(line) for line in f]
    check_addresses(folder)
    check(seen["resources"] == [], f"the page loaded {seen['resources']}")
    check(seen["foreign"] == 0, "the page has elements that it should not have")
    check(len(seen["ids"]) == len(set(seen["ids"])), "an id is there twice")
    check("Simulated" in seen["text"], "the page does not say that it is simulated")
    check_tables(seen, objects)
    check_figures(seen, objects, wanted)
    with open(os.path.join(folder, "results.csv"), encoding="utf-8") as f:
        header = f.readline().strip().split(",")
    check(header[5:7] == ["model", "policy"], f"results.csv begins with {header}")
    return seen, objects


def check_page_of_manual(objects):
    """cofris-replay(1) explains every key."""
    manual = read(os.path.join(SOURCE, "docs", "cofris-replay.1.scd"))
    keys = set(objects[0])
    for row in objects[0]["results"] + objects[0]["geomean"]:
        keys |= set(row)
        for value in row.values():
            if isinstance(value, dict):
                keys |= set(value)
        for point in row["curve"]:
            keys |= set(point)
    for key in sorted(keys):
        check(f"_{key}_" in manual, f"the manual does not explain {key}")


def made_up(folder):
    run(os.path.join(BUILD, "tests", "make-report"), folder)
    _, objects = check_page(
        folder, {"power": 1, "slo": 1, "tail": 1, "curves": 1, "surface": 8, "run": 8})
    check_page_of_manual(objects)


def hostile(folder):
    """Names that are markup, quotes and commands stay names."""
    run(os.path.join(BUILD, "tests", "make-report"), folder, "hostile")
    seen, objects = check_page(
        folder, {"power": 1, "slo": 1, "tail": 1, "curves": 1, "surface": 2, "run": 2})
    check(seen["title"] == "cofris-replay: " + visible(objects[0]["trace"]),
          f"title {seen['title']!r}")


def sparse(folder):
    """Figures of which most do not exist are drawn as well."""
    run(os.path.join(BUILD, "tests", "make-report"), folder, "sparse")
    seen = browse(folder)
    check({f["kind"] for f in seen["figures"]} >= {"power", "tail", "curves"}, "no figures")
    check(any("-" in row for t in seen["tables"] for row in t["cells"]), "nothing is missing")


def short_run(folder):
    """A real evaluation: the page and the files are what --json prints."""
    done = run(os.path.join(BUILD, "bin", "cofris-replay"), "--trace",
               os.path.join(SOURCE, "profiles", "loads", "day.csv"), "--models",
               "shufflenet,vgg19", "--policies", "auto,maximum,frequency,cofris", "--duration",
               "2m", "--slo", "2.0x,1.5x", "--headroom-sweep", "--json", "--report", folder)
    check(re.search(r"(?m)^wall [0-9.]+ s$", done.stderr), f"no wall time: {done.stderr}")
    check(done.stdout == read(os.path.join(folder, "results.json")), "--json is another result")
    seen, objects = check_page(
        folder, {"power": 1, "slo": 1, "tail": 1, "curves": 1, "surface": 2, "run": 2})
    check([o["slo"] for o in objects] == ["2.0x", "1.5x"], "not the objectives asked for")
    check(all(row["requests"] > 500 for o in objects for row in o["results"]), "no requests")
    check("modelled" not in seen["text"].lower(), "without gating nothing is modelled")


def without_gnuplot(folder):
    """It says which package is missing before it computes anything."""
    environment = {**os.environ, "PATH": folder}
    done = subprocess.run([os.path.join(BUILD, "bin", "cofris-replay"), "--trace", "/dev/null",
                           "--report", folder], env=environment, capture_output=True, text=True,
                          timeout=60, check=False)
    check(done.returncode == 2 and "gnuplot-nox" in done.stderr, done.stderr)
    check(not os.path.exists(folder), "a folder was made")


CASES = {f.__name__: f for f in (made_up, hostile, sparse, short_run, without_gnuplot)}


def main():
    need("gnuplot", "chromium")
    with tempfile.TemporaryDirectory() as folder:
        CASES[sys.argv[1]](os.path.join(folder, "report"))
    print("ok")


if __name__ == "__main__":
    main()
