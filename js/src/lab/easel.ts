// The latents as a canvas to paint on, by pointer, touch or keys; and the brush.

import { ALL_CHANNELS, EDIT_LIMIT } from "../lib/contract";
import { choice, symbol } from "../lib/controls";
import { h, write } from "../lib/dom";
import { paint } from "../lib/latents";
import { cellAfter, cellAt, type Grid, most, numbers, plane } from "./channel";
import { paced } from "./pace";
import { type Brush, type Cell, dab, Stroke } from "./paint";
import { placed } from "./spot";
import type { EditJson } from "./view";

const ALL = ALL_CHANNELS;
const LEAST = 0.5; // the least end of the colour scale: small values look small

export interface Easel {
  readonly element: HTMLElement;
  show(grid: Grid | undefined): void; // a stroke that is being painted stays
}

export function easel(send: (edit: EditJson) => void): Easel {
  const brush: Brush = { channel: ALL, value: 3, mode: "set" };
  let grid: Grid | undefined;
  let end = 3;
  let stroke: Stroke | undefined;
  let at: Cell | undefined; // pointed at

  const canvas = h("canvas", { class: "sdw-lab-paint", width: 1, height: 1 });
  const mark = h("div", { class: "sdw-lab-spot", hidden: true });
  const box = h("div", { class: "sdw-lab-easel", tabindex: 0, role: "application" }, canvas, mark);
  box.setAttribute("aria-label", "The latents: arrow keys move, Space paints");
  const where = h("output", { class: "sdw-lab-quiet" }, "");

  const channel = h("select", { class: "sdw-lab-select", "aria-label": "Channel to paint on" });
  channel.addEventListener("change", () => {
    brush.channel = Number(channel.value);
    fit();
    draw();
  });
  const value = h("input", {
    type: "range",
    min: -EDIT_LIMIT,
    max: EDIT_LIMIT,
    step: 0.1,
    value: brush.value,
  });
  value.setAttribute("aria-label", "Value of the brush");
  const said = h("output", {}, brush.value.toFixed(1));
  value.addEventListener("input", () => {
    brush.value = Number(value.value);
    write(said, brush.value.toFixed(1));
  });
  const modes = choice<Brush["mode"]>(
    "What the brush does",
    [
      { value: "set", label: ["set"], title: "Cells take the brush's value" },
      { value: "add", label: ["add"], title: "The brush's value is added to the cells'" },
    ],
    (mode) => {
      brush.mode = mode;
      modes.show(mode);
    },
  );
  modes.show(brush.mode);

  /** Fits the colour scale; not while painting, since a stroke would change all colours. */
  function fit() {
    if (grid !== undefined) end = Math.max(most(numbers(grid, brush.channel)), LEAST);
  }

  function draw() {
    if (grid === undefined) return;
    paint(canvas, plane(grid, brush.channel, end));
    point(at);
  }

  function point(cell: Cell | undefined) {
    at = cell;
    mark.hidden = cell === undefined || grid === undefined;
    if (cell === undefined || grid === undefined) return write(where, "");
    placed(mark, cell, grid);
    const place = `cell ${cell.x}, ${cell.y}`;
    if (brush.channel === ALL) return write(where, place);
    const i = (brush.channel * grid.height + cell.y) * grid.width + cell.x;
    write(where, `${place}: ${(grid.values[i] as number).toFixed(2)}`);
  }

  const pace = paced(send);
  function strokeTo(cell: Cell) {
    if (stroke === undefined || grid === undefined) return;
    const fresh = stroke.to(cell);
    for (const one of fresh) dab(grid, stroke.brush, one);
    if (fresh.length === 0) return;
    draw();
    pace.live(stroke.edit);
  }
  function lift() {
    if (stroke !== undefined && stroke.edit.cells.length > 0) pace.done(stroke.edit);
    stroke = undefined;
  }
  const cellOf = (event: MouseEvent) => grid && cellAt(event, canvas, grid.width, grid.height);

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || grid === undefined) return;
    event.preventDefault();
    box.focus({ preventScroll: true }); // so that Ctrl-Z is heard here
    canvas.setPointerCapture(event.pointerId);
    stroke = new Stroke({ ...brush });
    const cell = cellOf(event);
    if (cell) strokeTo(cell);
  });
  canvas.addEventListener("pointermove", (event) => {
    point(cellOf(event));
    const moves = event.getCoalescedEvents?.() ?? [];
    for (const one of moves.length > 0 ? moves : [event]) {
      const cell = cellOf(one);
      if (cell) strokeTo(cell);
      else stroke?.leave();
    }
  });
  canvas.addEventListener("pointerleave", () => point(undefined));
  for (const name of ["pointerup", "pointercancel"] as const) canvas.addEventListener(name, lift);
  box.addEventListener("blur", () => point(undefined));
  box.addEventListener("keydown", (event) => {
    if (grid === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    const next = cellAfter(event.key, at, grid.width, grid.height);
    if (next === undefined && event.key !== " ") return;
    event.preventDefault();
    if (next) return point(next);
    const cell = at;
    if (cell === undefined || stroke !== undefined) return;
    stroke = new Stroke({ ...brush });
    strokeTo(cell);
    lift();
  });

  function offer(channels: number) {
    if (channel.options.length === channels + 1) return;
    const names = Array.from({ length: channels }, (_, i) =>
      h("option", { value: i }, `channel ${i}`),
    );
    channel.replaceChildren(h("option", { value: ALL }, "all channels"), ...names);
    if (brush.channel >= channels) brush.channel = ALL;
    channel.value = String(brush.channel);
  }

  return {
    element: h(
      "div",
      { class: "sdw-lab-column" },
      h("figure", {}, box, h("figcaption", {}, "paint on the latents ", symbol("z"), " ", where)),
      h("div", { class: "sdw-lab-bar" }, channel, modes.element),
      h("label", { class: "sdw-lab-slider sdw-lab-brush" }, h("span", {}, "brush"), value, said),
    ),
    show(latents) {
      if (stroke !== undefined || latents === undefined) return;
      const { width = 0, height = 0 } = grid ?? {};
      if (latents.width !== width || latents.height !== height) at = undefined;
      grid = latents;
      box.style.setProperty("--sdw-shape", `${grid.width} / ${grid.height}`);
      offer(grid.channels);
      fit();
      draw();
    },
  };
}
