// Attention: a word's map over the image, the words to choose from, the words at a spot.

import { changes } from "../lib/changes";
import { type Colormap, coloured, colours } from "../lib/colours";
import { SPECIAL } from "../lib/contract";
import { choice } from "../lib/controls";
import { aria, h, on, vary, write } from "../lib/dom";
import {
  canvasSize,
  contour,
  counted,
  extent,
  heat,
  imageAt,
  isShare,
  plain,
  ranking,
  sameWord,
  scaled,
} from "../lib/heat";
import { isShortcut } from "../lib/keys";
import { paint, wipe } from "../lib/latents";
import { clamp, times } from "../lib/numbers";
import type { Header, ImageHeader, Panel, Selection, View, What } from "../lib/view";
import { percent } from "../lib/words";
import { chips, type Part, specialParts } from "./chips";
import { matrix } from "./matrix";
import { setShape, shapeOf } from "./screen";
import "../attention.css";

const LEVEL = 0.5; // of a contour: half-way from the smallest to the largest value
const FINER = 2; // a contour's pixels per pixel of the map
const RANKED = 5;
const NUDGE = 1 / 16; // of the image, per press of an arrow key
const POINT = "Point at the image to see which words it took from";

/** The word on show: the one pointed at, else the pinned one. */
export const shownWord = (view: View) => view.hover.word ?? view.selection.word;

/** The map of a word in this view; undefined if there is none. */
function mapOf(view: View, word: string): WordMap | undefined {
  const { reel, selection } = view;
  if (!reel.header || word === "") return undefined;
  const [width, height] = canvasSize(reel.header);
  const values = heat(reel, { ...selection, word }, width, height);
  return values && { values, width, height };
}

interface WordMap {
  values: Float32Array;
  width: number;
  height: number;
}

/** Draws a map in colours, from its smallest to its largest value; without one, nothing. */
function paintMap(canvas: HTMLCanvasElement, map: WordMap | undefined, colormap: Colormap) {
  if (!map) return wipe(canvas);
  const { values, width, height } = map;
  paint(canvas, { pixels: coloured(scaled(values), colormap), w: width, h: height });
}

/** Draws a line around values above half, light on dark so that it is visible on any image. */
function paintContour(canvas: HTMLCanvasElement, map: WordMap | undefined) {
  if (!map) return wipe(canvas);
  canvas.width = map.width * FINER; // which also empties it
  canvas.height = map.height * FINER;
  const context = canvas.getContext("2d");
  if (context === null) return;
  const lines = contour(scaled(map.values), map.width, map.height, LEVEL);
  context.beginPath();
  for (let i = 0; i < lines.length; i += 4) {
    const [x, y, u, v] = lines.slice(i, i + 4).map((at) => at * FINER);
    context.moveTo(x as number, y as number);
    context.lineTo(u as number, v as number);
  }
  for (const [style, thick] of [
    ["#000b", 5],
    ["#fff", 2],
  ] as const) {
    context.strokeStyle = style;
    context.lineWidth = (thick * Math.max(canvas.width, canvas.height)) / 512;
    context.lineCap = "round";
    context.stroke();
  }
}

/**
 * The map over the image. Its element fills the positioned element that contains it. Its canvas
 * has the colour map's colours; CSS sets its opacity. While it has the focus, arrow keys point at
 * a spot.
 */
export function heatOverlay(view: View): Panel {
  const map = h("canvas", "sdw-heat-map");
  const line = h("canvas", "sdw-heat-line");
  const spot = h("div", "sdw-heat-spot");
  const element = h("div", "sdw-heat", map, line, spot);
  const isNew = changes();

  on(element, "keydown", (event) => {
    const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[
      event.key
    ];
    if (isShortcut(event)) return;
    const { word, cell = { x: 0.5, y: 0.5 } } = view.hover;
    const move = (at: number, steps = 0) => clamp(at + steps * NUDGE, 0, 1);
    const kept = word === undefined ? {} : { word };
    if (by) view.peek({ ...kept, cell: { x: move(cell.x, by[0]), y: move(cell.y, by[1]) } });
    else if (event.key === "Escape") view.peek(kept);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  const update = () => {
    const { selection, hover, reel } = view;
    const word = shownWord(view);
    const found = mapOf(view, word);
    const recorded = (reel.header?.layers.length ?? 0) > 0;
    element.tabIndex = recorded ? 0 : -1;
    element.setAttribute("role", recorded ? "application" : "img"); // with keys of its own
    element.dataset.word = found ? word : "";
    element.dataset.contour = String(selection.contour);
    vary(element, "opacity", clamp(selection.opacity, 0, 1));
    const name = found ? `heat map of ${word}` : "no heat map";
    aria(element, "label", `${name}${recorded ? "; arrow keys point at a spot" : ""}`);

    spot.hidden = !hover.cell;
    if (hover.cell) {
      spot.style.left = `${100 * hover.cell.x}%`;
      spot.style.top = `${100 * hover.cell.y}%`;
    }

    if (!isNew(found?.values, selection.colormap, selection.contour)) return;
    paintMap(map, found, selection.colormap);
    paintContour(line, selection.contour ? found : undefined);
  };
  update();
  return { element, update };
}

/** The prompt's words, two words' maps, the words at a spot, the maps' controls, the matrix. */
export function attention(view: View): Panel {
  const words = chips(view, "Words of the prompt");
  const special = chips(view, "Tokens that stand for no word");
  const maps = [
    figure("Point at a word; click to keep it"),
    figure("A second word: Shift-click, or press b"),
  ] as const;
  const said = h("p", "sdw-said");
  const list = rankingList();
  const settings = controls(view);
  const [span, ...looks] = settings.elements;
  const compare = compareSelect(view);
  const cells = matrix(view);
  const element = h(
    "section",
    { class: "sdw-attention", "aria-label": "Attention" },
    h("div", "sdw-attention-header", h("p", "sdw-title", "words"), special.element),
    words.element,
    h("div", "sdw-attention-body", ...maps.map((one) => one.element), list.element),
    said,
    h("div", "sdw-attention-controls", span, compare.element),
    h("div", "sdw-attention-controls", ...looks),
    cells.element,
    unrecordedWords(),
  );

  const update = (what: What) => {
    const { reel, selection } = view;
    const { header } = reel;
    const unrecorded = reel.frames.length > 0 && header?.layers.length === 0;
    element.dataset.recorded = String(!unrecorded);
    const picture = header?.pictures[imageAt(header, selection.picture)];
    if (what !== "hover") {
      words.fill(promptParts(picture, reel.frames.length > 0));
      special.fill(specialParts());
      settings.update();
      compare.update(picture);
      write(said, saidOf(view));
    }
    cells.update(what);
    words.mark();
    special.mark();
    const shown = shownWord(view);
    // Pointing at a word must not hide the second one.
    maps[0].update(view, shown);
    maps[1].update(view, sameWord(selection.other, shown) ? "" : selection.other);
    list.update(view);
  };
  update("data");
  return { element, update };
}

/** What is said instead of the panel where there is nothing to show; CSS hides one or the other. */
export function unrecordedWords(): HTMLElement {
  const how = h("code", {}, "attention=True");
  return h("p", "sdw-unrecorded", "Attention was not recorded: generate with ", how, " to see it.");
}

/** The prompt in order: its words and the text between them. */
export function promptParts(picture: ImageHeader | undefined, begun = false): Part[] {
  if (!picture) return [{ text: `The prompt ${begun ? "is not known" : "appears here"}` }];
  const letters = [...picture.prompt]; // code points, as Python counts
  const parts: Part[] = [];
  let at = 0;
  for (const { text, start, end } of picture.words) {
    const between = letters.slice(at, start).join("").trim();
    if (between) parts.push({ text: between });
    parts.push({ text, word: text });
    at = Math.max(end, at);
  }
  return parts.length > 0 ? parts : [{ text: "an empty prompt" }];
}

/** The steps and layers that the maps average, in words. */
function saidOf({ reel, selection }: View): string {
  const found = counted(reel, selection);
  const { header } = reel;
  if (!header || !found || found.frames.length === 0) return "";
  const { frames, layers } = found;
  const [first] = frames;
  const steps =
    selection.span === "step" && first
      ? `step ${first.index}`
      : `mean of ${frames.length} of ${Math.max(header.steps, frames.length)} steps`;
  const [layer] = layers;
  const one = layers.length === 1 && layer !== undefined ? header.layers[layer]?.label : undefined;
  const where = one ?? `${layers.length} of ${header.layers.length} layers`;
  return `${steps}, ${where}; shares of ${wholeOf(header)}`;
}

/** What the numbers of maps and of spots are shares of. */
const wholeOf = (header: Header | undefined) =>
  isShare(header) ? "the attention to words" : "all attention";

function rangeWords([least, most]: readonly [number, number]): string {
  if (most > 0 && most < 0.0005) return "under 0.1 %";
  const [from, to] = [percent(least), percent(most)];
  return from === to ? `all ${to} %` : `${from} to ${to} %`;
}

/** A small map with its word and range of values. It keeps its size without a map. */
function figure(hint: string) {
  const canvas = h("canvas", { class: "sdw-map", role: "img" });
  const empty = h("span", "sdw-map-hint", hint);
  const word = h("bdi", "sdw-map-word");
  const range = h("span", "sdw-map-range");
  const bar = h("span", { class: "sdw-map-bar", "aria-hidden": "true" });
  const element = h(
    "figure",
    "sdw-map-figure",
    h("div", "sdw-map-frame", canvas, empty),
    h("figcaption", {}, word, range),
    bar,
  );
  const isNew = changes();
  return {
    element,
    update(view: View, name: string) {
      const { colormap } = view.selection;
      const map = mapOf(view, name);
      setShape(element, shapeOf(view), "map-shape");
      if (!isNew(map?.values, name, colormap)) return;
      element.dataset.word = map ? name : "";
      write(word, map ? plain(name) : "");
      aria(canvas, "label", map ? `heat map of ${name}` : "no heat map");
      write(range, map ? rangeWords(extent(map.values)) : "");
      paintMap(canvas, map, colormap);
      bar.style.backgroundImage = `linear-gradient(to right, ${stops(colormap)})`;
    },
  };
}

function stops(colormap: Colormap): string {
  const table = colours(colormap);
  return times(9, (i) => {
    const at = 3 * Math.round((i / 8) * 255);
    return `rgb(${table.subarray(at, at + 3).join(" ")})`;
  }).join(", ");
}

/** The words that a spot takes most from, in a fixed number of rows. */
function rankingList() {
  const rows = times(RANKED, () => {
    const word = h("bdi", "sdw-rank-word");
    const fill = h("span", {});
    const share = h("span", "sdw-rank-share");
    const bar = h("span", { class: "sdw-rank-bar", "aria-hidden": "true" }, fill);
    return { word, fill, share, item: h("li", {}, word, bar, share) };
  });
  const hint = h("p", "sdw-rank-hint", POINT);
  const list = h("ol", { "aria-label": "Words at this spot" }, ...rows.map(({ item }) => item));
  const whole = h("p", "sdw-rank-of");
  const element = h("div", "sdw-ranking", h("div", {}, list, whole), hint);
  return {
    element,
    update(view: View) {
      const { cell } = view.hover;
      const found = cell ? ranking(view.reel, view.selection, cell) : [];
      element.dataset.empty = String(found.length === 0);
      rows.forEach(({ word, fill, share, item }, i) => {
        const one = found[i];
        item.toggleAttribute("data-none", !one);
        item.toggleAttribute(
          "data-shown",
          one !== undefined && sameWord(one.word, shownWord(view)),
        );
        write(word, one?.word ?? "");
        write(share, one ? `${percent(one.share)} %` : "");
        fill.style.width = one ? `${100 * one.share}%` : "0";
      });
      write(whole, `of ${wholeOf(view.reel.header)} here`);
    },
  };
}

/** The controls of how maps are shown. */
export function controls(view: View) {
  const span = choice<Selection["span"]>(
    "Which steps",
    [
      { value: "run", label: ["whole run"], title: "The mean over all steps so far" },
      { value: "step", label: ["this step"], title: "Only the step on show" },
    ],
    (value) => view.select({ span: value }),
  );
  const opacity = h("input", { type: "range", min: 0, max: 1, step: 0.05 });
  on(opacity, "input", () => view.select({ opacity: Number(opacity.value) }));
  const maps: Colormap[] = ["magma", "viridis", "grey"];
  const colormap = h(
    "select",
    { class: "sdw-select", "aria-label": "colours of the maps" },
    ...maps.map((name) => h("option", { value: name }, name)),
  );
  on(colormap, "change", () => view.select({ colormap: colormap.value as Colormap }));
  const line = h("input", { type: "checkbox" });
  on(line, "change", () => view.select({ contour: line.checked }));
  const elements: [HTMLElement, ...HTMLElement[]] = [
    span.element,
    h("label", "sdw-field sdw-opacity", "opacity", opacity),
    colormap,
    h(
      "label",
      { class: "sdw-field", title: "A line around the strongest attention" },
      line,
      "contour",
    ),
  ];
  return {
    elements,
    update() {
      const { selection } = view;
      span.show(selection.span);
      if (Number(opacity.value) !== selection.opacity) opacity.value = String(selection.opacity);
      aria(opacity, "valuetext", `${Math.round(100 * selection.opacity)} %`);
      colormap.value = selection.colormap;
      line.checked = selection.contour;
    },
  };
}

/** A menu for the second word, for those who do not know the shortcut. */
function compareSelect(view: View) {
  const select = h("select", "sdw-select");
  const isNew = changes();
  on(select, "change", () => {
    const word = select.value;
    // Without a pinned word, the chosen one becomes it.
    view.select(view.selection.word === "" ? { word, other: "" } : { other: word });
  });
  return {
    element: h("label", "sdw-field sdw-compare-with", "compare with", select),
    update(picture: ImageHeader | undefined) {
      const texts = new Map(picture?.words.map(({ text }) => [text.toLowerCase(), text]));
      const words = [...texts.values(), ...SPECIAL];
      if (isNew(...words)) {
        select.replaceChildren(
          h("option", { value: "" }, "–"),
          ...words.map((word) => h("option", { value: word }, plain(word))),
        );
      }
      const { other } = view.selection;
      select.value = words.find((word) => sameWord(word, other)) ?? "";
    },
  };
}
