// A point of a sweep as a cell of the grid: its image, how far it is, why it failed, its score.

import { aria, h, vary, write } from "../lib/dom";
import { amount } from "../lib/words";
import { named } from "./places";
import type { CellState, Store } from "./store";

export interface Shown {
  score: number; // which of the scores, -1 for none
  low: number; // the least of them, and the greatest
  high: number;
  labelled: boolean; // the cell says what it is, since no row and column does
}

export interface Cell {
  readonly element: HTMLElement;
  readonly point: number;
  /** Shows the point as it is now. `near`: it is in sight, or almost, so its image may load. */
  show(shown: Shown, near: boolean): void;
}

const STATES: Record<CellState, string> = {
  waiting: "not made yet",
  running: "being made",
  done: "",
  failed: "failed",
};

export function cell(store: Store, point: number): Cell {
  const image = h("img", { class: "sdw-s-image", alt: "", draggable: "false", hidden: true });
  const tile = h("span", { class: "sdw-s-tile", hidden: true });
  const why = h("span", "sdw-s-why");
  const picture = h("span", "sdw-s-picture", tile, image, why, h("span", "sdw-s-steps"));
  const value = h("span", "sdw-s-value");
  const bar = h("span", "sdw-s-bar");
  const score = h("span", { class: "sdw-s-score", hidden: true }, bar, value);
  const label = h("span", { class: "sdw-s-label", dir: "auto", hidden: true });
  const name = named(store.axes, point);
  const element = h(
    "div",
    { class: "sdw-s-cell", role: "gridcell", tabindex: -1 },
    picture,
    score,
    label,
  );
  element.dataset.point = String(point);

  const showImage = (state: CellState, near: boolean) => {
    const address = state === "done" ? store.image(point) : undefined;
    image.hidden = !address;
    if (!address) image.removeAttribute("src");
    else if (near && image.getAttribute("src") !== address) image.src = address;
    const small = state === "done" && !address && near ? store.tile(point) : undefined;
    tile.hidden = small === undefined;
    if (small) {
      const { columns, rows, at } = small;
      const part = (i: number, of: number) => `${of > 1 ? (100 * i) / (of - 1) : 0}%`;
      tile.style.backgroundImage = `url("${small.address}")`;
      tile.style.backgroundSize = `${100 * columns}% ${100 * rows}%`;
      tile.style.backgroundPosition = `${part(at[0], columns)} ${part(at[1], rows)}`;
    }
    element.dataset.image = address ? "own" : small ? "saved" : "none";
  };

  return {
    element,
    point,
    show({ score: which, low, high, labelled }, near) {
      const state = store.state(point);
      const { step = 0, steps = 1 } = store.running.get(point) ?? {};
      const reason = state === "failed" ? store.error(point) : "";
      element.dataset.state = state;
      element.title = reason ? `${name}\n${reason}` : name;
      showImage(state, near);
      write(why, state === "failed" ? `Failed\n${reason}` : "");
      vary(element, "made", state === "running" ? step / Math.max(steps, 1) : 0);
      const number = store.score(point, which);
      const has = Number.isFinite(number);
      score.hidden = which < 0;
      vary(score, "part", has ? (high > low ? (number - low) / (high - low) : 1) : 0);
      write(value, has ? amount(number) : state === "done" ? "–" : "");
      label.hidden = !labelled;
      write(label, labelled ? name : "");
      const scored = has ? `${store.scoreNames[which]} ${amount(number)}` : "";
      aria(element, "label", [name, STATES[state], reason, scored].filter(Boolean).join(", "));
    },
  };
}
