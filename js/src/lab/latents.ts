// The latents of the active autoencoder: each channel as an image, with its numbers.

import { choice, symbol } from "../lib/controls";
import { h, svg, write } from "../lib/dom";
import { paint } from "../lib/latents";
import { amount } from "../lib/words";
import { cells } from "./cells";
import {
  amounts,
  type Grid,
  gridOf,
  histogram,
  most,
  paintRgb,
  plane,
  steps,
  summary,
} from "./channel";
import { image } from "./image";
import type { LabView, Latents, MakePart, What } from "./view";

type Which = "mean" | "std" | "sample";

const [WIDE, HIGH] = [96, 28];

/** A channel: its image, its histogram on the common scale, its numbers. */
function tile(view: LabView, which: number) {
  const map = cells(view, "sdw-lab-channel", which === 0);
  const path = svg("path");
  const zero = svg("line", { class: "sdw-lab-zero", y1: "0", y2: String(HIGH) });
  const plot = svg("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, class: "sdw-lab-histogram" });
  plot.setAttribute("preserveAspectRatio", "none");
  plot.append(path, zero);
  const words = h("figcaption", { class: "sdw-lab-quiet sdw-lab-stats" }, "");
  words.title = "Mean ± standard deviation, and from the smallest to the largest";
  return {
    element: h(
      "figure",
      { class: "sdw-lab-tile" },
      h("b", {}, `channel ${which}`),
      map.element,
      plot,
      words,
    ),
    draw(latents: Latents, grid: Grid, end: number, kind: Which) {
      const start = kind === "std" ? 0 : -end;
      paint(map.canvas, (kind === "std" ? amounts : plane)(grid, which, end));
      path.setAttribute("d", steps(histogram(grid, which, end, start), WIDE, HIGH));
      const middle = String((WIDE * -start) / (end - start));
      zero.setAttribute("x1", middle);
      zero.setAttribute("x2", middle);
      // The kernel's have full precision.
      const { mean, std, min, max } =
        (kind === "mean" && latents.stats[which]) || summary(grid, which);
      write(words, `${amount(mean)} ± ${amount(std)}\n${amount(min)} to ${amount(max)}`);
      map.element.setAttribute("aria-label", `Channel ${which}: ${words.textContent}`);
    },
    point: map.point,
  };
}

export const latents: MakePart = (view) => {
  let which: Which = "mean";
  let tiles: ReturnType<typeof tile>[] = [];
  const kinds = choice<Which>(
    "Which values",
    [
      { value: "mean", label: ["mean ", symbol("μ")], title: "The most likely latents" },
      {
        value: "std",
        label: ["deviation ", symbol("σ")],
        title: "How uncertain the encoder is of each value: dark is certain",
      },
      {
        value: "sample",
        label: ["sample ", symbol("z")],
        title: "Drawn at random: the mean plus noise of that deviation",
      },
    ],
    (value) => {
      which = value;
      draw();
    },
  );
  const [low, high] = [h("span"), h("span")];
  const key = h("div", { class: "sdw-lab-key" }, low, h("div", { class: "sdw-lab-ramp" }), high);
  const list = h("div", { class: "sdw-lab-tiles" });
  const sample = image("sdw-lab-big", "A sample of the latents, decoded");
  const drawn = h(
    "figure",
    {},
    h("b", {}, "a sample, decoded"),
    sample.element,
    h("figcaption", { class: "sdw-lab-quiet" }, "drawn from ", symbol("μ"), " and ", symbol("σ")),
  );
  const map = cells(view, "sdw-lab-codes", false);
  map.element.setAttribute("aria-label", "The codes, each in its colour");
  const used = h("figcaption", { class: "sdw-lab-quiet" }, "");
  used.title = "Perplexity: as many codes, used equally often, would carry the same information";
  const codes = h("figure", {}, h("b", {}, "the codes"), map.element, used);
  const body = h("div", { class: "sdw-lab-codec" }, h("div", {}, drawn, codes), list);
  const none = h("p", { class: "sdw-lab-quiet" }, "The latents appear here.");

  const gridOfAll = (now: Latents): Grid | undefined =>
    gridOf({ mean: now.mean, std: now.std, sample: now.sample }[which], now);

  function draw() {
    const now = view.data.latents;
    if (now?.std === null) which = "mean"; // codes have no deviation
    const grid = now && gridOfAll(now);
    none.hidden = grid !== undefined;
    for (const part of [body, kinds.element, key]) part.hidden = grid === undefined;
    if (now === undefined || grid === undefined) return;
    kinds.show(which);
    for (const kind of ["std", "sample"] as const) kinds.allow(kind, now.std !== null);
    if (tiles.length !== now.channels) {
      tiles = Array.from({ length: now.channels }, (_, i) => tile(view, i));
      list.replaceChildren(...tiles.map(({ element }) => element));
    }
    body.style.setProperty("--sdw-shape", `${now.width} / ${now.height}`);
    const end = most(grid.values);
    key.dataset.of = which;
    write(low, which === "std" ? "0" : `−${end} or less`);
    write(high, `${end} or more`);
    for (const one of tiles) one.draw(now, grid, end, which);
    sample.show(now.sample_data);
    drawn.hidden = now.codes !== null;
    codes.hidden = now.codes === null;
    if (now.codes !== null) {
      paintRgb(map.canvas, now.codes.colours, now.width, now.height);
      const { used: some, count, perplexity } = now.codes;
      const evenly = perplexity === null ? "" : `, perplexity ${perplexity.toFixed(0)}`;
      write(used, `${some} of ${count} used${evenly}`);
    }
    point();
  }

  function point() {
    map.point();
    for (const one of tiles) one.point();
  }

  return {
    element: h(
      "div",
      { class: "sdw-lab-latents" },
      h("div", { class: "sdw-lab-bar" }, kinds.element, key),
      body,
      none,
    ),
    update(what: ReadonlySet<What>) {
      if (what.has("latents")) draw();
      else if (what.has("touch") || what.has("here")) point();
    },
    remove: sample.remove,
  };
};
