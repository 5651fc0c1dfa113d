// The inside of one step: noisy and clean latents, both halves of guidance, channels, the schedule.

import { changes } from "../lib/changes";
import { symbol } from "../lib/controls";
import { aria, h, on, vary, write } from "../lib/dom";
import { roving } from "../lib/keys";
import { clean, diverging, extent, guided, paint, preview, signed, wipe } from "../lib/latents";
import { clamp, times } from "../lib/numbers";
import type { Frame } from "../lib/reel";
import { guidanceOf, imageOf, type Panel, type View, type What } from "../lib/view";
import { schedule } from "./schedule";
import { setShape, shapeOf } from "./screen";

const MOST_GUIDANCE = 20;

interface Cell {
  words: string;
  letter: string;
  index: string;
  title: string;
  latents(frame: Frame, view: View): Float32Array | undefined;
  signed?: boolean;
}

const CELLS: Cell[] = [
  {
    words: "noisy",
    letter: "x",
    index: "t",
    title: "The noisy latents that this step started from",
    latents: (frame) => frame.x,
  },
  {
    words: "clean",
    letter: "x",
    index: "0",
    title: "The clean latents that this step predicted",
    latents: (frame, view) => clean(frame, guidanceOf(view)),
  },
  {
    words: "prompt",
    letter: "x",
    index: "c",
    title: "The prediction with the prompt alone: guidance 1",
    latents: (frame) => guided(frame, 1),
  },
  {
    words: "no prompt",
    letter: "x",
    index: "∅",
    title: "The prediction without the prompt: guidance 0",
    latents: (frame) => frame.uncond,
  },
  {
    words: "difference",
    letter: "Δ",
    index: "",
    title: "With minus without the prompt; orange: the prompt makes it brighter, blue: darker",
    latents: (frame) => frame.difference,
    signed: true,
  },
];

export function denoising(view: View): Panel {
  const thumbs = CELLS.map(thumb);
  const row = h(
    "div",
    { class: "sdw-v-thumbs", role: "toolbar", "aria-label": "Latents of this step" },
    ...thumbs.map(({ button }) => button),
  );
  const oneTabStop = roving(row);
  const channels = channelRow();
  const guidance = guidanceRow(view);
  const noise = schedule(view);
  let chosen = 1; // the clean ones
  const isNew = changes();

  thumbs.forEach(({ button }, i) => {
    on(button, "click", () => {
      if (button.getAttribute("aria-disabled") === "true") return;
      chosen = i;
      draw();
    });
  });

  const element = h(
    "section",
    { class: "sdw-v-panel sdw-denoising", "aria-label": "Denoising" },
    h("p", "sdw-title", "inside the step"),
    h("div", "sdw-v-half", row, channels.element),
    h("div", "sdw-v-half", guidance.element, noise.element),
  );

  const draw = () => {
    const { reel, selection } = view;
    const frame = reel.at(selection.step);
    const factors = reel.header?.factors ?? [];
    const count = frame?.size[1] ?? Math.max(factors.length - 1, 0);
    const which = imageOf(view);
    const negative = (reel.header?.pictures[which]?.negative_prompt ?? "") !== "";
    // Another word or opacity changes nothing here.
    if (!isNew(reel.version, frame, which, guidanceOf(view), chosen)) return;
    setShape(element, shapeOf(view), "cell");
    CELLS.forEach((cell, i) => {
      const { button, canvas, words } = thumbs[i] as Thumb;
      const latents = frame && cell.latents(frame, view);
      if (!frame || !latents) wipe(canvas);
      else paint(canvas, (cell.signed ? signed : preview)(latents, frame.size, which, factors));
      aria(button, "disabled", !latents);
      aria(button, "pressed", i === chosen);
      if (cell.index === "∅") write(words, negative ? "negative" : cell.words);
    });
    oneTabStop(thumbs[chosen]?.button);
    const cell = CELLS[chosen] as Cell;
    channels.draw(cell, frame, frame && cell.latents(frame, view), which, count || 4);
  };

  const update = (what: What) => {
    if (what === "hover") return;
    draw();
    guidance.update();
    noise.update(what);
  };
  update("data");
  return { element, update };
}

interface Thumb {
  button: HTMLButtonElement;
  canvas: HTMLCanvasElement;
  words: HTMLElement;
}

function thumb({ words, letter, index, title }: Cell): Thumb {
  const canvas = h("canvas", "sdw-v-small");
  const text = h("span", {}, words);
  const button = h(
    "button",
    { class: "sdw-v-thumb", title, tabindex: -1, "aria-pressed": "false" },
    canvas,
    text,
    symbol(letter, index),
  );
  return { button, canvas, words: text };
}

/** The separate channels of latents, all on one scale, in the colours of the lab. */
function channelRow() {
  const label = h("p", "sdw-v-label", "");
  const cells = h("div", "sdw-v-channels");
  const element = h("div", "sdw-v-group", label, cells);
  const canvases: HTMLCanvasElement[] = [];

  const have = (count: number) => {
    if (canvases.length === count) return;
    canvases.splice(0, canvases.length, ...times(count, () => h("canvas")));
    vary(cells, "columns", Math.min(count, 8));
    cells.replaceChildren(
      ...canvases.map((canvas, i) => {
        canvas.className = "sdw-v-small";
        canvas.setAttribute("role", "img");
        aria(canvas, "label", `channel ${i}`);
        return h("figure", "sdw-v-channel", canvas, h("figcaption", {}, String(i)));
      }),
    );
  };

  return {
    element,
    draw(
      cell: Cell,
      frame: Frame | undefined,
      latents: Float32Array | undefined,
      which: number,
      count: number,
    ) {
      have(count);
      if (!frame || !latents) {
        for (const canvas of canvases) wipe(canvas);
        write(label, `Channels of “${cell.words}”`);
        return;
      }
      const most = extent(latents, frame.size, which);
      canvases.forEach((canvas, c) => {
        paint(canvas, diverging(latents, frame.size, which, c, most));
      });
      write(label, `Channels of “${cell.words}”: blue −${most}, grey 0, orange ${most}`);
    },
  };
}

/** A control that shows the step with another guidance scale, from its two halves. */
function guidanceRow(view: View) {
  const label = { "aria-label": "guidance" };
  const slider = h("input", { ...label, type: "range", min: 0, max: MOST_GUIDANCE, step: 0.1 });
  const field = h("input", { ...label, type: "number", min: 0, max: MOST_GUIDANCE, step: 0.1 });
  const reset = h("button", { class: "sdw-button" }, "as run");
  const formula = h("p", "sdw-v-label");
  const element = h(
    "div",
    "sdw-v-group",
    h(
      "div",
      "sdw-v-guidance",
      h("span", "sdw-v-name", "guidance ", symbol("g")),
      slider,
      field,
      reset,
    ),
    formula,
  );

  const set = (value: number) => {
    if (!Number.isFinite(value)) return;
    view.select({ guidance: clamp(value, 0, MOST_GUIDANCE) });
  };
  on(slider, "input", () => set(slider.valueAsNumber));
  on(field, "input", () => set(field.valueAsNumber));
  on(field, "change", () => update());
  on(reset, "click", () => {
    if (view.selection.guidance !== null) view.select({ guidance: null });
  });

  const explain = h("span", {}, symbol("x", "0"), " = ", symbol("x", "∅"), " + ");
  explain.append(symbol("g"), " · ", symbol("Δ"), ", computed here from the two halves");
  const update = () => {
    const { header } = view.reel;
    const frame = view.reel.at(view.selection.step);
    const guidedRun = frame?.guided ?? header?.guided ?? true;
    const asRun = header?.guidance_scale ?? 1;
    const value = guidanceOf(view) ?? asRun;
    const rescale = header?.guidance_rescale ?? 0;
    const works = guidedRun && rescale === 0;
    for (const input of [slider, field]) input.disabled = !works;
    slider.value = String(value);
    // Not while someone is typing in it.
    if (field !== document.activeElement || field.valueAsNumber !== value) {
      if (!(field === document.activeElement && field.value === "")) {
        field.value = value.toFixed(1);
      }
    }
    aria(reset, "disabled", guidanceOf(view) === null || !works);
    reset.title = `Guidance ${asRun.toFixed(1)}, as in the run`;
    if (works) formula.replaceChildren(explain);
    else if (guidedRun)
      write(formula, `This run rescaled its guidance by ${rescale}, so it is fixed.`);
    else write(formula, "This run had no guidance.");
  };
  return { element, update };
}
