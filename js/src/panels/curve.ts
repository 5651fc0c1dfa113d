// The loss and other values of a training: a thin line of values, a strong one of their means.

import { choice } from "../lib/controls";
import { type Curve, heightOf, isPositive, nearest, pathOf, rangeOf } from "../lib/curve";
import { aria, h, on, svg, write } from "../lib/dom";
import { roving } from "../lib/keys";
import { amount } from "../lib/words";

// CSS pixels of the drawing. It scales with its width; its strokes do not.
const WIDE = 400;
const HIGH = 120;
const EDGE = 5;

type Scale = "log" | "linear";

export interface Plot {
  element: HTMLElement;
  /** `total`: all steps. `means`: the newest, by name. `marked`: a step to mark. */
  show(curve: Curve, total: number, means: Record<string, unknown>, marked?: number): void;
}

/** `pick` is called with the step that was clicked. */
export function plot(pick: (step: number) => void): Plot {
  let curve: Curve = { steps: [], lines: [] };
  let total = 1;
  let marked: number | undefined;
  let hovered: number | undefined;
  let drawn = "loss";
  let wanted: Scale = "log";

  const values = h("div", { class: "sdw-t-values", role: "toolbar", "aria-label": "Values" });
  const oneTabStop = roving(values);
  const buttons = new Map<string, { button: HTMLElement; number: HTMLElement }>();
  const scales = choice<Scale>(
    "Scale",
    [
      { value: "log", label: ["log"], title: "Equal distances are equal factors" },
      { value: "linear", label: ["linear"] },
    ],
    (value) => {
      wanted = value;
      draw();
    },
  );
  const raw = svg("path", { class: "sdw-t-raw" });
  const mean = svg("path", { class: "sdw-t-mean" });
  const cursor = svg("line", { class: "sdw-v-cursor", y1: "0", y2: String(HIGH) });
  const drawing = svg("svg", {
    class: "sdw-v-plot sdw-t-plot",
    viewBox: `0 0 ${WIDE} ${HIGH}`,
    preserveAspectRatio: "none",
    role: "img",
  });
  drawing.append(raw, mean, cursor);
  const [high, low] = [h("span", {}, ""), h("span", {}, "")];
  const [first, last] = [h("span", {}, ""), h("span", {}, "")];
  const now = h("span", "sdw-t-now", "");
  const element = h(
    "div",
    "sdw-t-curve",
    values,
    h(
      "div",
      "sdw-v-graph",
      h("div", { class: "sdw-v-axis", "aria-hidden": "true" }, high, low),
      drawing,
      h("span", {}, ""),
      h("div", { class: "sdw-t-steps", "aria-hidden": "true" }, first, last),
    ),
    h("div", "sdw-v-bar", now, scales.element),
  );

  const x = (step: number) => EDGE + ((step - 1) / Math.max(total - 1, 1)) * (WIDE - 2 * EDGE);
  const line = () => curve.lines.find(({ name }) => name === drawn) ?? curve.lines[0];

  const stepAt = (event: PointerEvent) => {
    const { left, width } = drawing.getBoundingClientRect();
    const at = ((event.clientX - left) / Math.max(width, 1)) * WIDE;
    return 1 + ((at - EDGE) / (WIDE - 2 * EDGE)) * Math.max(total - 1, 1);
  };
  on(drawing, "pointermove", (event) => {
    hovered = stepAt(event);
    point();
  });
  on(drawing, "pointerleave", () => {
    hovered = undefined;
    point();
  });
  on(drawing, "click", (event) => pick(stepAt(event as PointerEvent)));

  /** Makes a button for each value. */
  const offer = (means: Record<string, unknown>) => {
    const names = curve.lines.map(({ name }) => name);
    if (names.join("\n") !== [...buttons.keys()].join("\n")) {
      buttons.clear();
      values.replaceChildren();
      for (const name of names) {
        const number = h("span", "sdw-t-number", "");
        const button = h(
          "button",
          { class: "sdw-t-value", tabindex: -1, "aria-pressed": "false" },
          h("span", {}, name.replaceAll("_", " ")),
          number,
        );
        button.dataset.value = name;
        on(button, "click", () => {
          drawn = name;
          draw();
        });
        buttons.set(name, { button, number });
        values.append(button);
      }
      oneTabStop();
    }
    for (const [name, { number }] of buttons) write(number, amount(means[name]));
  };

  const draw = () => {
    const one = line();
    for (const [name, { button }] of buttons) {
      aria(button, "pressed", name === one?.name);
    }
    const logs = !one || isPositive(one);
    const log = wanted === "log" && logs;
    scales.allow("log", logs);
    scales.show(log ? "log" : "linear");
    const range = one && rangeOf(one);
    if (!one || !range) {
      for (const path of [raw, mean]) path.setAttribute("d", "");
      for (const text of [high, low, first, last]) write(text, "");
    } else {
      const y = (value: number) => EDGE + (1 - heightOf(value, range, log)) * (HIGH - 2 * EDGE);
      const path = (heights: number[]) =>
        pathOf(curve.steps.map((step, i) => [x(step), y(heights[i] ?? Number.NaN)]));
      raw.setAttribute("d", path(one.values));
      mean.setAttribute("d", path(one.means));
      write(high, amount(range[1]));
      write(low, amount(range[0]));
      write(first, "step 1");
      write(last, String(total));
    }
    element.dataset.points = String(curve.steps.length);
    element.dataset.value = one?.name ?? "";
    point();
  };

  /** Marks the step under the pointer or, without one, of the images on show. */
  const point = () => {
    const one = line();
    const at = hovered ?? marked;
    const row = at === undefined ? -1 : nearest(curve.steps, at);
    const step = curve.steps[row];
    const seen = one !== undefined && step !== undefined;
    cursor.setAttribute("visibility", seen ? "visible" : "hidden");
    const newest = amount(one?.means.at(-1));
    aria(drawing, "label", one ? `${one.name}, mean ${newest}` : "no steps yet");
    if (!seen) {
      write(now, "");
      return;
    }
    cursor.setAttribute("x1", String(x(step)));
    cursor.setAttribute("x2", String(x(step)));
    write(now, `step ${step}: ${amount(one.values[row])}, mean ${amount(one.means[row])}`);
  };

  draw();
  return {
    element,
    show(next, steps, means, mark) {
      [curve, total, marked] = [next, Math.max(steps, ...next.steps.slice(-1), 1), mark];
      offer(means);
      draw();
    },
  };
}
