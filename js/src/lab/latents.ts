// The latents of the active autoencoder: each channel as a picture, with its numbers.

import { choice, symbol } from "../lib/controls";
import { h, svg, write } from "../lib/dom";
import { bytes } from "../lib/frames";
import { paint } from "../lib/latents";
import {
  cellAfter,
  cellAt,
  type Grid,
  gridOf,
  histogram,
  most,
  paintRgb,
  plane,
  steps,
} from "./channel";
import { heatPixels } from "./comparison";
import { image } from "./image";
import type { LabView, Latents, MakePart, What } from "./view";

type Which = "mean" | "std" | "sample";

const [WIDE, HIGH] = [96, 28];
const number = (value: number | null | undefined) =>
  typeof value === "number" ? value.toFixed(2) : "–";

/** One channel: its picture, its histogram, its numbers. */
function tile(view: LabView, which: number) {
  const canvas = h("canvas", { class: "sdw-lab-channel", width: 1, height: 1 });
  const heat = h("canvas", { class: "sdw-lab-heat", width: 1, height: 1 });
  const mark = h("div", { class: "sdw-lab-spot" });
  const box = h(
    "div",
    { class: "sdw-lab-grid", tabindex: which === 0 ? 0 : -1, role: "img" },
    canvas,
    heat,
    mark,
  );
  const path = svg("path", { class: "sdw-lab-bars" });
  const plot = svg("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, class: "sdw-lab-histogram" });
  plot.append(path);
  const words = h("figcaption", { class: "sdw-lab-quiet" }, "");
  const element = h(
    "figure",
    { class: "sdw-lab-tile" },
    h("b", {}, `channel ${which}`),
    box,
    plot as unknown as Node,
    words,
  );
  const sides = () => view.data.latents ?? { width: 1, height: 1 };
  box.addEventListener("pointermove", (event) => {
    const { width, height } = sides();
    view.point({ cell: cellAt(event, box, width, height), pixel: undefined });
  });
  box.addEventListener("pointerleave", () => view.point({ cell: undefined }));
  box.addEventListener("blur", () => view.point({ cell: undefined }));
  box.addEventListener("keydown", (event) => {
    const { width, height } = sides();
    const cell = cellAfter(event.key, view.here.cell, width, height);
    if (cell === undefined) return;
    event.preventDefault();
    view.point({ cell, pixel: undefined });
  });
  return {
    element,
    draw(latents: Latents, grid: Grid, end: number, kind: Which) {
      const picture =
        kind === "std"
          ? plane({ ...grid, values: grid.values.map((value) => 2 * value - end) }, which, end)
          : plane(grid, which, end);
      paint(canvas, picture);
      path.setAttribute("d", steps(histogram(grid, which, end), WIDE, HIGH));
      const stats = latents.stats[which];
      const own = summary(grid, which);
      const { mean, std, min, max } = kind === "mean" && stats ? stats : own;
      write(words, `${number(mean)} ± ${number(std)}, ${number(min)} to ${number(max)}`);
      box.setAttribute("aria-label", `channel ${which}: mean ${number(mean)}`);
      box.style.aspectRatio = `${latents.width} / ${latents.height}`;
    },
    point(pixels: Uint8ClampedArray<ArrayBuffer> | undefined) {
      const { width, height } = sides();
      const { cell } = view.here;
      mark.hidden = cell === undefined;
      if (cell !== undefined) {
        mark.style.left = `${(100 * cell.x) / width}%`;
        mark.style.top = `${(100 * cell.y) / height}%`;
        mark.style.width = `${100 / width}%`;
        mark.style.height = `${100 / height}%`;
      }
      heat.hidden = pixels === undefined;
      if (pixels !== undefined) paint(heat, { pixels, w: width, h: height });
    },
  };
}

/** Mean, deviation and ends of a channel. */
export function summary(grid: Grid, which: number) {
  const cells = grid.width * grid.height;
  const values = grid.values.subarray(which * cells, (which + 1) * cells);
  const mean = values.reduce((sum, value) => sum + value, 0) / cells;
  const std = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / cells);
  return { mean, std, min: Math.min(...values), max: Math.max(...values) };
}

export const latents: MakePart = (view) => {
  let which: Which = "mean";
  let tiles: ReturnType<typeof tile>[] = [];
  let named = "";
  const kinds = choice<Which>(
    "Which numbers",
    [
      { value: "mean", label: ["mean ", symbol("μ")], title: "The most likely latents" },
      {
        value: "std",
        label: ["deviation ", symbol("σ")],
        title: "How unsure the encoder is of each number: black is sure",
      },
      {
        value: "sample",
        label: ["sample ", symbol("z")],
        title: "Drawn at random: mean and noise",
      },
    ],
    (value) => {
      which = value;
      draw();
    },
  );
  const scale = h("span", { class: "sdw-lab-quiet" }, "");
  const list = h("div", { class: "sdw-lab-tiles" });
  const sample = image("sdw-lab-small", "The sample decoded");
  const decoded = h(
    "figure",
    { class: "sdw-lab-tile" },
    h("b", {}, "the sample decoded"),
    sample.element,
    h("figcaption", { class: "sdw-lab-quiet" }, "another draw of the same posterior"),
  );
  const codes = h("canvas", { class: "sdw-lab-channel", width: 1, height: 1 });
  const used = h("figcaption", { class: "sdw-lab-quiet" }, "");
  const map = h(
    "figure",
    { class: "sdw-lab-tile" },
    h("b", {}, "the codes"),
    h("div", { class: "sdw-lab-grid" }, codes),
    used,
  );
  const none = h("p", { class: "sdw-lab-quiet" }, "The latents appear here.");

  const gridNow = (): Grid | undefined => {
    const now = view.data.latents;
    if (now === undefined) return undefined;
    const data = { mean: now.mean, std: now.std, sample: now.sample }[which];
    return gridOf(data, now) ?? gridOf(now.mean, now);
  };

  function draw() {
    const now = view.data.latents;
    const grid = gridNow();
    none.hidden = grid !== undefined;
    for (const part of [list, kinds.element, scale]) part.hidden = grid === undefined;
    if (now === undefined || grid === undefined) return;
    if (now.std === null && which !== "mean") which = "mean"; // codes are sure
    kinds.show(which);
    kinds.allow("std", now.std !== null);
    kinds.allow("sample", now.std !== null);
    if (named !== `${now.name} ${now.channels}`) {
      named = `${now.name} ${now.channels}`;
      tiles = Array.from({ length: now.channels }, (_, i) => tile(view, i));
      list.replaceChildren(map, decoded, ...tiles.map((one) => one.element));
    }
    const end = most(grid);
    write(scale, which === "std" ? `black 0, white ${end}` : `black ${-end}, grey 0, white ${end}`);
    for (const one of tiles) one.draw(now, grid, end, which);
    decoded.hidden = which !== "sample";
    sample.show(now.sample_data);
    map.hidden = now.codes === null;
    if (now.codes !== null) {
      paintRgb(codes, now.codes.colours, now.width, now.height);
      const evenly =
        now.codes.perplexity === null ? "" : `, ${now.codes.perplexity.toFixed(0)} evenly`;
      write(used, `${now.codes.used} of ${now.codes.count} used${evenly}`);
    }
    point();
  }

  function point() {
    const { touch, latents: now } = view.data;
    const { pixel } = view.here;
    const fits =
      pixel !== undefined &&
      touch?.of === "pixel" &&
      touch.x === pixel.x &&
      touch.y === pixel.y &&
      touch.width === now?.width &&
      touch.height === now.height;
    const pixels = fits && touch !== undefined ? heatPixels(bytes(touch.data)) : undefined;
    for (const one of tiles) one.point(pixels);
  }

  return {
    element: h(
      "div",
      { class: "sdw-lab-latents" },
      h("div", { class: "sdw-lab-bar" }, kinds.element, scale),
      list,
      none,
    ),
    update(what: ReadonlySet<What>) {
      if (what.has("latents")) draw();
      else if (what.has("touch") || what.has("here")) point();
    },
    remove: sample.remove,
  };
};
