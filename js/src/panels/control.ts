// What controls add: for each control, a map of each level at the step on show, and all steps.

import { changes } from "../lib/changes";
import { coloured } from "../lib/colours";
import { aria, h, on, vary, write } from "../lib/dom";
import { paint, wipe } from "../lib/latents";
import { times } from "../lib/numbers";
import type { Attention, Frame } from "../lib/reel";
import { type Control, imageOf, type Panel, showStep, type View } from "../lib/view";
import { percent } from "../lib/words";
import { setShape, shapeOf } from "./screen";
import "../control.css";

/** What one control adds at a level. */
interface Added {
  values: Float32Array; // [h, w]
  h: number;
  w: number;
  mean: number;
}

const kept = new WeakMap<Frame, Map<string, Added[]>>();

/** The maps of a level at a step, one for each control; [] where none are recorded. */
function addedAt(frame: Frame, level: number, picture: number): Added[] {
  const known = kept.get(frame) ?? new Map<string, Added[]>();
  kept.set(frame, known);
  const key = `${level} ${picture}`;
  const made = known.get(key) ?? madeOf(frame.control(level, picture));
  known.set(key, made);
  return made;
}

function madeOf(maps: Attention | undefined): Added[] {
  if (!maps) return [];
  const { scales, bytes, h, w } = maps;
  return Array.from(scales, (scale, k) => {
    const part = bytes.subarray(k * h * w, (k + 1) * h * w);
    const values = Float32Array.from(part, (byte) => (byte / 255) * scale);
    return { values, h, w, mean: values.reduce((sum, one) => sum + one, 0) / (h * w) };
  });
}

/** The mean over the levels of what each control adds at a step. */
function meansAt(frame: Frame, levels: number, picture: number): number[] {
  const all = times(levels, (level) => addedAt(frame, level, picture));
  return (all[0] ?? []).map((_, k) => {
    return all.reduce((sum, added) => sum + (added[k]?.mean ?? 0), 0) / levels;
  });
}

/** A share in words: "0 %", "0.4 %", "12 %", "130 %". */
export const shareWords = (share: number) => `${percent(share)} %`;

/** When and how strongly a control acted, in words. */
export function actedWords({ strength, start, end }: Control): string {
  const parts = strength === 1 ? [] : [`strength ${Number(strength.toPrecision(3))}`];
  const share = (value: number) => `${Math.round(100 * value)} %`;
  if (start > 0 || end < 1) parts.push(`${share(start)} to ${share(end)} of the steps`);
  return parts.join(", ");
}

export function control(view: View): Panel {
  const body = h("div", "sdw-control-all");
  const element = h(
    "section",
    { class: "sdw-v-panel sdw-control", "aria-label": "What controls add" },
    h("p", "sdw-title", "controls"),
    body,
    h(
      "p",
      "sdw-said",
      "How much each control adds to the network's features, as a share of them: by level, and by step.",
    ),
  );
  let rows: ReturnType<typeof controlRow>[] = [];
  const isNew = changes();

  const update = () => {
    const { header, frames } = view.reel;
    const controls = header?.controls ?? [];
    const levels = header?.levels ?? [];
    element.hidden = controls.length === 0;
    if (element.hidden) return;
    const names = [...controls.map((one) => `${one.name} ${actedWords(one)}`), "", ...levels];
    if (isNew(...names)) {
      rows = controls.map((one, k) => controlRow(view, one, k, levels));
      body.replaceChildren(...rows.map((row) => row.element));
    }
    const picture = imageOf(view);
    const means = frames.map((frame) => meansAt(frame, levels.length, picture));
    for (const row of rows) row.update(means);
  };
  update();
  return { element, update: (what) => what !== "hover" && update() };
}

/** A control: its name, a map of each level, its steps. */
function controlRow(view: View, said: Control, k: number, levels: readonly string[]) {
  const maps = levels.map(levelMap);
  const steps = stepBars(view, k, said.name);
  const element = h(
    "div",
    "sdw-control-one",
    h(
      "p",
      "sdw-control-name",
      h("bdi", { title: said.name }, said.name),
      h("span", "sdw-control-when", actedWords(said)),
    ),
    h("div", "sdw-control-maps", ...maps.map((map) => map.element)),
    steps.element,
  );
  return {
    element,
    update(means: readonly (readonly number[])[]) {
      const { reel, selection } = view;
      const frame = reel.at(selection.step);
      const picture = imageOf(view);
      setShape(element, shapeOf(view), "map-shape");
      const found = levels.map((_, level) => frame && addedAt(frame, level, picture)[k]);
      const most = Math.max(...found.map((one) => Math.max(...(one?.values ?? [0]))), 0);
      maps.forEach((map, level) => {
        map.update(found[level], most, selection.colormap);
      });
      steps.update(means.map((one) => one[k] ?? 0));
    },
  };
}

/** A level's map under the level's name, with the mean of what is added there. */
function levelMap(label: string) {
  const canvas = h("canvas", { class: "sdw-map", role: "img" });
  const share = h("span", "sdw-map-range");
  const element = h(
    "figure",
    "sdw-map-figure",
    h("div", "sdw-map-frame", canvas),
    h("figcaption", {}, h("span", {}, label), share),
  );
  const isNew = changes();
  return {
    element,
    update(added: Added | undefined, most: number, colormap: View["selection"]["colormap"]) {
      if (!isNew(added, most, colormap)) return;
      write(share, added ? shareWords(added.mean) : "");
      const words = added ? `adds ${shareWords(added.mean)} on average` : "nothing recorded";
      aria(canvas, "label", `${label}: ${words}`);
      if (!added) return wipe(canvas);
      const shares = added.values.map((value) => (most > 0 ? value / most : 0));
      paint(canvas, { pixels: coloured(shares, colormap), w: added.w, h: added.h });
    },
  };
}

/** A bar for each step; a click shows that step. */
function stepBars(view: View, k: number, name: string) {
  const element = h("div", { class: "sdw-control-steps", role: "img" });
  let bars: HTMLElement[] = [];
  on(element, "click", (event) => {
    const at = bars.indexOf(event.target as HTMLElement);
    const frame = view.reel.frames[at];
    if (frame) showStep(view, frame.index);
  });
  return {
    element,
    update(shares: readonly number[]) {
      const { reel, selection } = view;
      if (bars.length !== shares.length) {
        bars = shares.map((_, i) => {
          return h("span", { title: `step ${reel.frames[i]?.index ?? i}` }, h("i", {}));
        });
        element.replaceChildren(...bars);
      }
      const most = Math.max(...shares, 1e-9);
      const shown = reel.at(selection.step);
      bars.forEach((bar, i) => {
        vary(bar, "share", `${(100 * (shares[i] as number)) / most}%`);
        bar.toggleAttribute("data-shown", reel.frames[i] === shown);
        bar.toggleAttribute("data-off", shares[i] === 0);
      });
      const acting = shares.filter((share) => share > 0).length;
      aria(
        element,
        "label",
        `${name || `control ${k + 1}`} acts in ${acting} of ${shares.length} steps`,
      );
    },
  };
}
