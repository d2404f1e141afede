"""Time from moving a slider of `kernelrich explore` to the last change of a picture, in Chromium.

    python bench/explore_latency.py [--moves 40] [--query "alpha=0.1"]

The page shows its default problem, N = 40, d = 200. A move sets the slider of alpha and sends the
event that the browser sends. From then on each frame the pixels of all pictures, made small, are
compared with those of the frame before; the time of a move ends where the frame after the last one
that changed begins, so that the browser has handed on what changed. A move starts when the
background is done, so that its pictures are not counted.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics

from playwright.sync_api import sync_playwright

import kernelrich_fast as krf

MOVE = """async (step) => {
  const canvases = [...document.querySelectorAll('#views > .view .picture > *')].flatMap((host) => {
    const found = [];
    const walk = (node) => {
      if (node.tagName === 'CANVAS') found.push(node);
      for (const child of [...(node.shadowRoot?.children ?? []), ...node.children]) walk(child);
    };
    walk(host);
    return found;
  }).filter((canvas) => canvas.width > 0 && canvas.getContext('2d'));
  // Layers of all pictures on one small canvas, so that looking costs little.
  const small = new OffscreenCanvas(120, 50 * canvases.length);
  const pen = small.getContext('2d', { willReadFrequently: true });
  const look = () => {
    pen.clearRect(0, 0, small.width, small.height);
    canvases.forEach((canvas, i) => pen.drawImage(canvas, 0, 50 * i, 120, 50));
    const pixels = new Uint32Array(pen.getImageData(0, 0, small.width, small.height).data.buffer);
    let sum = 0;
    for (const pixel of pixels) sum = (sum * 31 + pixel) | 0;
    return sum;
  };
  const frame = () => new Promise((go) => requestAnimationFrame(go));
  const slider = document.getElementById('slider-alpha');
  await frame();
  let seen = look();
  const begin = performance.now();
  slider.value = Number(slider.value) + step;
  slider.dispatchEvent(new Event('input', { bubbles: true }));
  let first = NaN, last = NaN;
  while (performance.now() - begin < 2000) {
    await frame();
    const now = look();
    if (now !== seen) {
      seen = now;
      last = performance.now() - begin;
      if (Number.isNaN(first)) first = last;
    }
    if (!Number.isNaN(last) && performance.now() - begin - last > 500) break;
  }
  return [first, last, window.explorer.milliseconds(), canvases.length];
}"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--moves", type=int, default=40)
    parser.add_argument("--query", default="", help="the address's query: another state to start")
    options = parser.parse_args()
    found = filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome")))
    explorer = krf.explore(show=False)
    with sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=next(found))
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(f"{explorer.url}?{options.query}")
        page.wait_for_function("window.explorer && window.explorer.settled()")
        page.wait_for_function("document.getElementById('what').textContent === 'done'")
        rows = []
        for move in range(options.moves):
            step = (-0.1, 0.1)[move // 20 % 2]  # two decades down, two decades up
            rows.append(page.evaluate(MOVE, step))
            page.wait_for_timeout(50)
        browser.close()
    explorer.close()
    for name, at in (("first picture", 0), ("all pictures", 1), ("computation", 2)):
        times = [row[at] for row in rows[2:]]
        low, *_, high = statistics.quantiles(times, n=20)
        print(
            f"{name}: median {statistics.median(times):.0f} ms, 5 to 95 % {low:.0f} to "
            f"{high:.0f} ms, largest {max(times):.0f} ms"
        )
    print(json.dumps({"moves": len(rows) - 2, "canvases": rows[0][3]}))


if __name__ == "__main__":
    main()
