// The noise schedule: how much noise is left at each step, on three scales.

import { choice, symbol } from "../lib/controls";
import { aria, h, on, svg, write } from "../lib/dom";
import { clamp } from "../lib/numbers";
import { type Panel, showStep, type View, type What } from "../lib/view";
import { level } from "../lib/words";

type Line = "sigma" | "alpha" | "snr";

interface Scale {
  value(sigma: number): number; // the value drawn
  height(value: number, range: [number, number]): number; // 0 at the bottom, 1 at the top
  middle(range: [number, number]): number; // the value half-way up
  text(value: number): string;
}

const linear = (value: number, [low, high]: [number, number]) =>
  high > low ? (value - low) / (high - low) : 0.5;

const mean = ([low, high]: [number, number]) => (low + high) / 2;

const SCALES: Record<Line, Scale> = {
  sigma: {
    value: (sigma) => sigma,
    height: (value, [low, high]) => linear(Math.log(value), [Math.log(low), Math.log(high)]),
    middle: ([low, high]) => Math.sqrt(low * high),
    text: level,
  },
  alpha: {
    value: (sigma) => 1 / (1 + sigma * sigma),
    height: (value) => value,
    middle: mean,
    text: (value) => value.toFixed(2),
  },
  snr: {
    value: (sigma) => -20 * Math.log10(sigma),
    height: linear,
    middle: mean,
    text: (value) => `${value.toFixed(0)} dB`.replace("-", "−"),
  },
};

// CSS pixels of the drawing. It scales with its width; its strokes do not.
const WIDE = 400;
const HIGH = 96;
const EDGE = 6;

export function schedule(view: View): Panel {
  let line: Line = "sigma";
  const lines = choice<Line>(
    "What the plot shows",
    [
      { value: "sigma", label: ["noise ", symbol("σ")], title: "On a logarithmic scale" },
      { value: "alpha", label: ["signal ", symbol("ᾱ")], title: "1 / (1 + σ²)" },
      {
        value: "snr",
        label: ["signal to noise ", symbol("ᾱ/(1−ᾱ)")],
        title: "1 / σ², in decibels",
      },
    ],
    (value) => {
      line = value;
      draw();
    },
  );
  const trained = svg("polyline", { class: "sdw-v-trained" });
  const path = svg("polyline", { class: "sdw-v-line" });
  const dots = svg("path", { class: "sdw-v-dots" });
  const cursor = svg("line", { class: "sdw-v-cursor", y1: "0", y2: String(HIGH) });
  const spot = svg("path", { class: "sdw-v-spot" });
  const drawing = svg("svg", {
    class: "sdw-v-plot",
    viewBox: `0 0 ${WIDE} ${HIGH}`,
    preserveAspectRatio: "none",
    role: "img",
  });
  drawing.append(trained, path, dots, cursor, spot);
  const [high, middle, low] = [h("span"), h("span"), h("span")];
  const [first, last] = [h("span"), h("span")];
  const now = h("span", "sdw-v-now", "");
  const element = h(
    "div",
    "sdw-v-group",
    h("div", "sdw-v-bar", lines.element, now),
    h(
      "div",
      "sdw-v-graph",
      h("div", { class: "sdw-v-axis", "aria-hidden": "true" }, high, middle, low),
      drawing,
      h("div", { class: "sdw-v-steps", "aria-hidden": "true" }, first, h("span", {}, "step"), last),
    ),
  );

  const lastStep = () => Math.max((view.reel.header?.steps ?? 0) - 1, ...known().keys(), 1);

  const point = (event: PointerEvent) => {
    if (event.type === "pointerdown") drawing.setPointerCapture(event.pointerId);
    else if (!drawing.hasPointerCapture(event.pointerId)) return;
    const { left, width } = drawing.getBoundingClientRect();
    const at = ((event.clientX - left) / Math.max(width, 1)) * WIDE;
    const share = clamp((at - EDGE) / (WIDE - 2 * EDGE), 0, 1);
    showStep(view, Math.round(share * lastStep()));
  };
  on(drawing, "pointerdown", point);
  on(drawing, "pointermove", point);

  /** The known noise levels by step, from the header and the frames. */
  const known = (): Map<number, number> => {
    const { header, frames } = view.reel;
    const grid = header?.sigmas.slice(0, -1) ?? [];
    const levels = new Map(grid.map((sigma, i) => [i, sigma]));
    for (const frame of frames) levels.set(frame.index, frame.sigma);
    return levels;
  };

  const draw = () => {
    const { reel, selection } = view;
    const scale = SCALES[line];
    const levels = [...known()].filter(([, sigma]) => sigma > 0);
    const training = (reel.header?.schedule_sigmas ?? []).filter((sigma) => sigma > 0);
    const all = [...levels.map(([, sigma]) => sigma), ...training];
    lines.show(line);
    element.dataset.line = line;
    const values = all.map(scale.value);
    const range: [number, number] =
      line === "alpha" ? [0, 1] : [Math.min(...values), Math.max(...values)];
    const end = lastStep();
    const x = (share: number) => EDGE + share * (WIDE - 2 * EDGE);
    const y = (sigma: number) =>
      EDGE + (1 - scale.height(scale.value(sigma), range)) * (HIGH - 2 * EDGE);
    const points = levels
      .sort(([a], [b]) => a - b)
      .map(([step, sigma]) => [x(step / end), y(sigma)]);

    path.setAttribute("points", points.map((point) => point.join()).join(" "));
    // In training, t rises with the noise. Here it is reversed, as in sampling.
    const backwards = [...training].reverse();
    const share = (i: number) => i / Math.max(backwards.length - 1, 1);
    trained.setAttribute(
      "points",
      backwards.map((sigma, i) => `${x(share(i))},${y(sigma)}`).join(" "),
    );
    // Lines of no length show as dots: the round ends of their strokes, which do not scale.
    dots.setAttribute("d", points.map(([cx, cy]) => `M${cx},${cy}h0`).join(""));
    const ticks = [range[1], scale.middle(range), range[0]]
      .map(scale.text)
      .concat("0", String(end));
    [high, middle, low, first, last].forEach((each, i) => {
      write(each, all.length > 0 ? (ticks[i] as string) : "");
    });

    const frame = reel.at(selection.step);
    const seen = frame !== undefined && frame.sigma > 0;
    for (const one of [cursor, spot]) one.setAttribute("visibility", seen ? "visible" : "hidden");
    write(now, seen ? scale.text(scale.value(frame.sigma)) : "");
    aria(drawing, "label", seen ? `step ${frame.index}: ${now.textContent}` : "no noise level yet");
    if (!seen) return;
    const at = String(x(frame.index / end));
    cursor.setAttribute("x1", at);
    cursor.setAttribute("x2", at);
    spot.setAttribute("d", `M${at},${y(frame.sigma)}h0`);
  };

  const update = (what: What) => {
    if (what !== "hover") draw();
  };
  update("data");
  return { element, update };
}
