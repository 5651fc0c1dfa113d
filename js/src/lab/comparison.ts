// The image and its reconstructions, side by side, with their numbers.

import { type Binary, bytes } from "../lib/bytes";
import { coloured } from "../lib/colours";
import { choice } from "../lib/controls";
import { h, write } from "../lib/dom";
import { image } from "./image";
import type { Here, LabView, Part, Result, Selection } from "./view";

const VIEWS = [
  ["rebuilt", "Rebuilt", "What comes out of each autoencoder"],
  ["error", "Error", "How far each pixel is from the original's"],
  ["slider", "Before / after", "The original left of a line, the reconstruction right of it"],
] as const;

interface Row {
  words: string;
  title: string; // in plain words
  better: 1 | -1 | 0; // the larger, the smaller, or neither
  value(result: Result): number | null;
  text(value: number): string;
}

const NUMBERS: Row[] = [
  {
    words: "PSNR",
    title: "How small the squared error is, in decibels: higher is closer, 30 dB looks good",
    better: 1,
    value: (one) => one.psnr,
    text: (value) => `${value.toFixed(1)} dB`,
  },
  {
    words: "SSIM",
    title: "How similar small structures are: 1 is the same image",
    better: 1,
    value: (one) => one.ssim,
    text: (value) => value.toFixed(3),
  },
  {
    words: "perceptual",
    title: "How different it looks to a trained network: 0 is the same image",
    better: -1,
    value: (one) => one.perceptual,
    text: (value) => value.toFixed(3),
  },
  {
    words: "bits per pixel",
    title: "What is kept of each pixel; the original has 24",
    better: -1,
    value: (one) => one.bits,
    text: (value) => value.toFixed(value < 1 ? 3 : 2),
  },
  {
    words: "time",
    title: "Time to encode and decode it on this machine",
    better: 0,
    value: (one) => one.seconds,
    text: (value) => (value < 1 ? `${Math.round(1000 * value)} ms` : `${value.toFixed(1)} s`),
  },
];

/** The best of each row's numbers, as they are written: undefined where there is nothing to win. */
export function best(results: readonly Result[], row: Row): string | undefined {
  const values = results.map(row.value).filter((value) => value !== null);
  if (row.better === 0 || values.length < 2) return undefined;
  return row.text(row.better > 0 ? Math.max(...values) : Math.min(...values));
}

/** Opaque RGBA of an error map, on a scale of all maps: `most` is the brightest. */
export function errorPixels(error: Binary, largest: number, most: number) {
  const values = Float32Array.from(bytes(error), (value) => ((value / 255) * largest) / most);
  return coloured(values, "magma");
}

/**
 * RGBA of a heat map: strong pixels are bright and hide the image. Of the square root, since few
 * pixels are strong.
 */
export function heatPixels(heat: Uint8Array) {
  const root = Float32Array.from(heat, (value) => Math.sqrt(value / 255));
  const out = coloured(
    root.map((value) => 0.45 + 0.55 * value), // visible on dark images, too
    "magma",
  );
  root.forEach((value, i) => {
    out[4 * i + 3] = Math.round(235 * value);
  });
  return out;
}

function draw(canvas: HTMLCanvasElement, pixels: Uint8ClampedArray<ArrayBuffer>, width: number) {
  const height = pixels.length / 4 / width;
  if (!Number.isInteger(height) || height === 0) return; // no map of this image
  Object.assign(canvas, { width, height });
  canvas.getContext("2d")?.putImageData(new ImageData(pixels, width, height), 0, 0);
}

/** The pixels (left, top, sides) of the latent cell that is pointed at, itself or by a pixel. */
export function spot({ cell, pixel }: Here, factor: number) {
  const at =
    cell ?? (pixel && { x: Math.floor(pixel.x / factor), y: Math.floor(pixel.y / factor) });
  return at && { x: at.x * factor, y: at.y * factor, side: factor };
}

/** An image in a square of fixed size, with what is drawn over it. */
function frame(view: LabView, words: string) {
  const shown = image("sdw-lab-image", words);
  const heat = h("canvas", { class: "sdw-lab-heat" });
  const mark = h("div", { class: "sdw-lab-spot" });
  const box = h("div", { class: "sdw-lab-box" }, shown.element, heat, mark);
  const element = h("div", { class: "sdw-lab-frame" }, box);

  box.addEventListener("pointermove", (event) => {
    const { picture } = view.data;
    const { left, top, width, height } = box.getBoundingClientRect();
    if (picture === undefined || width === 0) return;
    const [x, y] = [(event.clientX - left) / width, (event.clientY - top) / height];
    if (Math.min(x, y) < 0 || Math.max(x, y) >= 1) return;
    const pixel = { x: Math.floor(x * picture.width), y: Math.floor(y * picture.height) };
    view.point({ pixel, cell: undefined });
  });
  box.addEventListener("pointerleave", () => view.point({ pixel: undefined }));

  return {
    element,
    box,
    shown,
    fit() {
      const { width = 1, height = 1 } = view.data.picture ?? {};
      box.style.setProperty("--sdw-shape", `${width} / ${height}`);
      box.dataset.tall = String(height > width);
    },
    /** Marks the pointer's place and, with `reached`, the pixels that the cell under it reaches. */
    point(reached: boolean) {
      const { data, here, selection } = view;
      const { width = 1, height = 1 } = data.picture ?? {};
      const entry = data.catalogue.find(({ name }) => name === selection.active);
      const place = spot(here, entry?.factor ?? 1);
      mark.hidden = place === undefined;
      if (place !== undefined) {
        const { x, y, side } = place;
        Object.assign(mark.style, {
          left: `${(100 * x) / width}%`,
          top: `${(100 * y) / height}%`,
          width: `${(100 * side) / width}%`,
          height: `${(100 * side) / height}%`,
        });
      }
      const { cell } = here;
      const { touch } = data;
      heat.hidden = !(
        reached &&
        cell !== undefined &&
        touch?.of === "cell" &&
        touch.x === cell.x &&
        touch.y === cell.y
      );
      if (heat.hidden || touch === undefined) return;
      draw(heat, heatPixels(bytes(touch.data)), touch.width);
      heat.style.width = `${(100 * touch.width) / width}%`;
      heat.style.height = `${(100 * touch.height) / height}%`;
    },
  };
}

/** A reconstruction: a press makes it the active one; in the before/after view it is a slider. */
function cell(view: LabView, name: string, slide: (to: number) => void) {
  const base = frame(view, `reconstruction by ${name}`);
  const before = image("sdw-lab-image sdw-lab-before");
  const error = h("canvas", { class: "sdw-lab-error" });
  const line = h("div", { class: "sdw-lab-line" });
  base.shown.element.after(error, before.element, line);
  const values = NUMBERS.map(({ title }) => h("dd", { title }, "–"));
  const title = h("figcaption", {}, name);
  const element = h(
    "figure",
    { class: "sdw-lab-cell" },
    base.element,
    title,
    h(
      "dl",
      {},
      ...NUMBERS.flatMap((row, i) => [h("dt", { title: row.title }, row.words), values[i] as Node]),
    ),
  );
  element.dataset.name = name;
  const target = base.element;
  target.tabIndex = 0;
  const isSlider = () => view.selection.view === "slider";
  let position = 50;

  const activate = () => view.select({ active: name });
  let dragged = false; // a drag of the line ends in a click, too
  const follow = (event: PointerEvent) => {
    const { left, width } = base.box.getBoundingClientRect();
    if (width > 0) slide((100 * (event.clientX - left)) / width);
  };
  element.addEventListener("click", () => {
    if (!dragged) activate();
    dragged = false;
  });
  target.addEventListener("pointerdown", (event) => {
    if (!isSlider() || event.button !== 0) return;
    target.setPointerCapture(event.pointerId);
    dragged = false;
    follow(event);
  });
  target.addEventListener("pointermove", (event) => {
    if (!target.hasPointerCapture(event.pointerId)) return;
    dragged ||= event.movementX !== 0;
    follow(event);
  });
  target.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = event.shiftKey ? 10 : 2;
    const to = {
      ...{ ArrowLeft: position - step, ArrowDown: position - step, Home: 0 },
      ...{ ArrowRight: position + step, ArrowUp: position + step, End: 100 },
    }[event.key];
    if (event.key === "Enter" || event.key === " ") activate();
    else if (isSlider() && to !== undefined) slide(to);
    else return;
    event.preventDefault();
  });

  return {
    element,
    frame: base,
    before,
    show(result: Result | undefined, scale: number) {
      element.toggleAttribute("data-stale", result === undefined);
      base.shown.show(result?.data);
      before.show(view.data.picture?.data);
      const width = view.data.picture?.width ?? 1;
      if (result) draw(error, errorPixels(result.error, result.error_max, scale), width);
      NUMBERS.forEach((row, i) => {
        const value = result && row.value(result);
        const text = value === null || value === undefined ? "–" : row.text(value);
        const dd = values[i] as HTMLElement;
        write(dd, text);
        dd.toggleAttribute("data-best", text === best(view.data.results, row));
      });
    },
    mark() {
      const isActive = view.selection.active === name;
      element.toggleAttribute("data-active", isActive);
      target.setAttribute("role", isSlider() ? "slider" : "button");
      if (isSlider()) {
        target.setAttribute("aria-label", `image before and after ${name}`);
        target.setAttribute("aria-valuenow", String(Math.round(position)));
        target.removeAttribute("aria-pressed");
      } else {
        target.setAttribute("aria-label", `look into ${name}`);
        target.setAttribute("aria-pressed", String(isActive));
        target.removeAttribute("aria-valuenow");
      }
    },
    place(at: number) {
      position = at;
      base.box.style.setProperty("--sdw-at", `${at}%`);
    },
    remove() {
      base.shown.remove();
      before.remove();
    },
  };
}

export function comparison(view: LabView): Part {
  const toggle = choice<Selection["view"]>(
    "What is shown",
    VIEWS.map(([value, words, title]) => ({ value, label: [words], title })),
    (value) => view.select({ view: value }),
  );
  const most = h("span", {}, "");
  const scale = h(
    "div",
    { class: "sdw-lab-scale", title: "The error of a pixel, the mean of its three colours" },
    h("span", {}, "0"),
    h("div", { class: "sdw-lab-ramp" }),
    most,
  );
  const original = frame(view, "the original image");
  const [name, size] = [h("span", {}, ""), h("dd", {}, "–")];
  const first = h(
    "figure",
    { class: "sdw-lab-cell sdw-lab-original" },
    original.element,
    h("figcaption", {}, name),
    h("dl", {}, h("dt", {}, "pixels"), size, h("dt", {}, "bits per pixel"), h("dd", {}, "24")),
  );
  const row = h("div", { class: "sdw-lab-cells" }, first);
  const element = h("div", {}, h("div", { class: "sdw-lab-bar" }, toggle.element, scale), row);
  let cells = new Map<string, ReturnType<typeof cell>>();
  let position = 50;

  const slide = (to: number) => {
    position = Math.min(Math.max(to, 0), 100);
    for (const one of cells.values()) {
      one.place(position);
      one.mark();
    }
  };
  const arrange = () => {
    const { chosen } = view.selection;
    const kept = new Map(chosen.map((each) => [each, cells.get(each) ?? cell(view, each, slide)]));
    for (const [each, one] of cells) if (!kept.has(each)) one.remove();
    cells = kept;
    const wanted = [first, ...[...kept.values()].map((one) => one.element)];
    if (wanted.some((one, i) => row.children[i] !== one) || row.children.length > wanted.length) {
      row.replaceChildren(...wanted);
    }
    row.style.setProperty("--sdw-cells", String(wanted.length));
    slide(position);
  };
  return {
    element,
    update(what) {
      const { data, selection } = view;
      const has = (...names: (typeof what extends ReadonlySet<infer W> ? W : never)[]) =>
        names.some((each) => what.has(each));
      if (has("chosen")) arrange();
      if (has("picture")) {
        const { picture } = data;
        original.shown.show(picture?.data);
        write(name, picture?.name ?? "no image yet");
        write(size, picture ? `${picture.width} × ${picture.height}` : "–");
      }
      const frames = [original, ...[...cells.values()].map((one) => one.frame)];
      if (has("picture", "chosen")) for (const one of frames) one.fit();
      if (has("picture", "chosen", "results")) {
        const shown = data.results.filter((one) => cells.has(one.name));
        const largest = Math.max(...shown.map((one) => one.error_max), 1e-6);
        write(most, `${Math.round(largest)} of 255`);
        for (const [each, one] of cells) {
          one.show(
            data.results.find((result) => result.name === each),
            largest,
          );
        }
      }
      if (has("view", "active", "chosen")) {
        toggle.show(selection.view);
        element.dataset.view = selection.view;
        for (const one of cells.values()) one.mark();
      }
      if (has("here", "touch", "active", "chosen", "picture", "catalogue")) {
        original.point(true);
        for (const [each, one] of cells) one.frame.point(each === selection.active);
      }
    },
    remove() {
      original.shown.remove();
      for (const one of cells.values()) one.remove();
    },
  };
}
