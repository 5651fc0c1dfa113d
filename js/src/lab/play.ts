// Play: paint on the latents, knock channels out, add noise, walk; the decoded picture follows.

import { choice, symbol } from "../lib/controls";
import { h, write } from "../lib/dom";
import { bytes } from "../lib/frames";
import { paint } from "../lib/latents";
import { cellAt, type Grid, gridOf, most, plane } from "./channel";
import { image } from "./image";
import type { Edited, EditJson, LabView, MakePart, What } from "./view";

const ALL = -1;
const INTERVAL = 70; // ms between the messages of a slider or a stroke, at least: 14 a second

/** Sends messages of one kind not too often; the newest wins, and the last one always goes. */
export function paced(send: (edit: EditJson) => void, interval = INTERVAL) {
  let waiting: EditJson | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const go = () => {
    timer = undefined;
    if (waiting === undefined) return;
    send(waiting);
    waiting = undefined;
    timer = setTimeout(go, interval);
  };
  return {
    live(edit: EditJson) {
      waiting = { ...edit, live: true };
      if (timer === undefined) go();
    },
    done(edit: EditJson) {
      clearTimeout(timer);
      [timer, waiting] = [undefined, undefined];
      send(edit);
    },
  };
}

/** What a slider stands at after these edits: its own edit's value, or that which changes nothing. */
export function standing(
  applied: readonly EditJson[],
  type: string,
  own: Record<string, unknown>,
  field: string,
  neutral: number,
): number {
  const mine = (one: EditJson) =>
    one.type === type && Object.entries(own).every(([name, value]) => one[name] === value);
  const edit = applied.filter(mine).at(-1);
  const value = edit?.[field];
  return typeof value === "number" ? value : neutral;
}

interface Slider {
  element: HTMLElement;
  show(applied: readonly EditJson[]): void;
}

/** A slider that is the state of one edit. */
function slider(
  view: LabView,
  words: (Node | string)[],
  label: string,
  edit: { type: string; own: Record<string, unknown>; field: string; neutral: number },
  range: { min: number; max: number; step: number },
): Slider {
  const input = h("input", { type: "range", ...range, value: edit.neutral, "aria-label": label });
  const output = h("output", {}, "");
  const pace = paced((one) => view.send({ kind: "edit", edit: one }));
  const now = () => ({ type: edit.type, ...edit.own, [edit.field]: Number(input.value) });
  const say = () => write(output, Number(input.value).toFixed(2));
  input.addEventListener("input", () => {
    say();
    pace.live(now());
  });
  input.addEventListener("change", () => pace.done(now()));
  input.addEventListener("dblclick", () => {
    input.value = String(edit.neutral);
    say();
    pace.done(now());
  });
  input.title = "Double-click: back";
  return {
    element: h("label", { class: "sdw-lab-slider" }, h("span", {}, ...words), input, output),
    show(applied) {
      if (input.matches(":active")) return; // the hand is on it
      input.value = String(standing(applied, edit.type, edit.own, edit.field, edit.neutral));
      say();
    },
  };
}

const button = (words: string, title: string, click: () => void) => {
  const element = h("button", { type: "button", class: "sdw-button", title }, words);
  element.addEventListener("click", () => {
    if (element.getAttribute("aria-disabled") !== "true") click();
  });
  return element;
};

/** Able or not, without losing the focus. */
function allow(element: HTMLElement, able: boolean) {
  element.setAttribute("aria-disabled", String(!able));
}

export const play: MakePart = (view) => {
  const edit = (one: EditJson) => view.send({ kind: "edit", edit: one });
  let brush = ALL;
  let mode: "set" | "add" = "set";
  let grid: Grid | undefined;
  let end = 3;
  let made = ""; // of which autoencoder the controls are

  // ---- the canvas
  const canvas = h("canvas", { class: "sdw-lab-paint", width: 1, height: 1, tabindex: 0 });
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "The latents: paint on them");
  const channel = h("select", { class: "sdw-lab-select", "aria-label": "Channel to paint on" });
  channel.addEventListener("change", () => {
    brush = Number(channel.value);
    draw();
  });
  const value = h("input", { type: "range", min: -4, max: 4, step: 0.1, value: 3 });
  value.setAttribute("aria-label", "Value of the brush");
  const valueSaid = h("output", {}, "3.0");
  value.addEventListener("input", () => write(valueSaid, Number(value.value).toFixed(1)));
  const modes = choice<"set" | "add">(
    "What the brush does",
    [
      { value: "set", label: ["set"], title: "Cells take the brush's value" },
      { value: "add", label: ["add"], title: "The brush's value is added to cells" },
    ],
    (chosen) => {
      mode = chosen;
      modes.show(mode);
    },
  );
  modes.show(mode);

  const pace = paced(edit);
  let stroke: Map<string, [number, number]> | undefined;
  const strokeNow = (): EditJson => ({
    type: "paint",
    channel: brush,
    value: Number(value.value),
    mode,
    cells: [...(stroke?.values() ?? [])],
  });
  const touched = (event: PointerEvent) => {
    if (stroke === undefined || grid === undefined) return;
    const moves = event.getCoalescedEvents?.() ?? [];
    let fresh = false;
    for (const one of moves.length > 0 ? moves : [event]) {
      const cell = cellAt(one, canvas, grid.width, grid.height);
      if (cell === undefined || stroke.has(`${cell.x},${cell.y}`)) continue;
      stroke.set(`${cell.x},${cell.y}`, [cell.x, cell.y]);
      dab(cell.x, cell.y);
      fresh = true;
    }
    if (!fresh) return;
    draw();
    pace.live(strokeNow());
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || grid === undefined) return;
    event.preventDefault();
    canvas.focus({ preventScroll: true }); // so that Ctrl-Z is heard here
    canvas.setPointerCapture(event.pointerId);
    stroke = new Map();
    touched(event);
  });
  canvas.addEventListener("pointermove", touched);
  for (const name of ["pointerup", "pointercancel"] as const) {
    canvas.addEventListener(name, () => {
      if (stroke !== undefined && stroke.size > 0) pace.done(strokeNow());
      stroke = undefined;
    });
  }

  /** Shows at once what the kernel is going to answer. */
  function dab(x: number, y: number) {
    if (grid === undefined) return;
    const cells = grid.width * grid.height;
    for (let c = 0; c < grid.channels; c++) {
      if (brush !== ALL && brush !== c) continue;
      const i = c * cells + y * grid.width + x;
      const before = mode === "add" ? (grid.values[i] as number) : 0;
      grid.values[i] = before + Number(value.value);
    }
  }

  function draw() {
    if (grid === undefined) return;
    paint(canvas, plane(grid, brush, end));
    canvas.style.aspectRatio = `${grid.width} / ${grid.height}`;
  }

  // ---- the picture and what is done to it
  const picture = image("sdw-lab-big", "The picture decoded from the edited latents");
  const quality = h("figcaption", { class: "sdw-lab-quiet" }, "");
  const list = h("ol", { class: "sdw-lab-edits" });
  const undo = button("Undo", "Take the last step back (Ctrl-Z)", () =>
    view.send({ kind: "undo" }),
  );
  const redo = button("Redo", "Make it again (Ctrl-Shift-Z)", () => view.send({ kind: "redo" }));
  const reset = button("Reset", "Take all edits away", () => view.send({ kind: "reset" }));
  const use = button("Use as a start…", "", () => view.send({ kind: "send" }));
  const save = button("Save", "Save the picture", () => {
    const data = view.data.edited?.data;
    if (data === undefined) return;
    const url = URL.createObjectURL(new Blob([bytes(data).slice()], { type: "image/png" }));
    h("a", { href: url, download: "edited.png" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  });

  const shift = (dx: number, dy: number) => edit({ type: "shift", dx, dy });
  const moves = h(
    "div",
    { class: "sdw-lab-moves", role: "group", "aria-label": "Shift and flip" },
    button("←", "Shift left by a cell", () => shift(-1, 0)),
    button("→", "Shift right by a cell", () => shift(1, 0)),
    button("↑", "Shift up by a cell", () => shift(0, -1)),
    button("↓", "Shift down by a cell", () => shift(0, 1)),
    button("Flip ↔", "Flip left and right", () => edit({ type: "flip", axis: "x" })),
    button("Flip ↕", "Flip top and bottom", () => edit({ type: "flip", axis: "y" })),
  );
  const noise = slider(
    view,
    ["noise ", symbol("σ")],
    "Noise added: its deviation",
    { type: "noise", own: {}, field: "sigma", neutral: 0 },
    { min: 0, max: 3, step: 0.05 },
  );
  const channels = h("div", { class: "sdw-lab-controls" });
  const walks = h("div", { class: "sdw-lab-controls" });
  let sliders: Slider[] = [];
  let knocks: HTMLElement[] = [];

  function controls(now: Edited) {
    const kind = `${now.name} ${now.channels} ${now.directions.map((one) => one.share).join()}`;
    if (kind === made) return;
    made = kind;
    sliders = [noise];
    knocks = [];
    const all = h("option", { value: ALL }, "all channels");
    channel.replaceChildren(
      all,
      ...Array.from({ length: now.channels }, (_, i) => h("option", { value: i }, `channel ${i}`)),
    );
    if (brush >= now.channels) brush = ALL;
    channel.value = String(brush);
    channels.replaceChildren();
    for (let c = 0; c < now.channels; c++) {
      const knock = button("off", `Knock channel ${c} out: 0 everywhere`, () =>
        edit({ type: "knock", channel: c }),
      );
      const scale = slider(
        view,
        [`channel ${c} ×`],
        `Channel ${c} times`,
        { type: "scale", own: { channel: c }, field: "factor", neutral: 1 },
        { min: -4, max: 4, step: 0.1 },
      );
      sliders.push(scale);
      knocks.push(knock);
      channels.append(h("div", { class: "sdw-lab-control" }, knock, scale.element));
    }
    walks.replaceChildren();
    now.directions.forEach(({ share }, i) => {
      const walk = slider(
        view,
        [`direction ${i + 1}`, h("small", {}, ` ${Math.round(100 * share)} %`)],
        `Walk along principal direction ${i + 1}, ${Math.round(100 * share)} % of the variance`,
        { type: "walk", own: { direction: i }, field: "amount", neutral: 0 },
        { min: -4, max: 4, step: 0.1 },
      );
      sliders.push(walk);
      walks.append(walk.element);
    });
  }

  function show() {
    const now = view.data.edited;
    if (now === undefined) return;
    controls(now);
    picture.show(now.data);
    if (stroke === undefined) {
      grid = gridOf(now.latents, now);
      end = grid === undefined ? end : Math.max(most(grid), 1);
      draw();
    }
    for (const one of sliders) one.show(now.applied);
    knocks.forEach((knock, c) => {
      const out = now.applied.some((one) => one.type === "knock" && one.channel === c);
      knock.setAttribute("aria-pressed", String(out));
    });
    list.replaceChildren(...now.edits.map((words) => h("li", {}, words)));
    if (now.edits.length === 0) list.append(h("li", { class: "sdw-lab-quiet" }, "nothing yet"));
    list.scrollTop = list.scrollHeight;
    const psnr = now.psnr === null ? "" : `${now.psnr.toFixed(1)} dB from the original`;
    write(quality, psnr);
    allow(undo, now.undoable > 0);
    allow(redo, now.undone > 0);
    allow(reset, now.edits.length > 0);
  }

  const element = h(
    "div",
    { class: "sdw-lab-play" },
    h(
      "div",
      { class: "sdw-lab-column" },
      h("figure", {}, canvas, h("figcaption", {}, "paint on the latents ", symbol("z"))),
      h("div", { class: "sdw-lab-bar" }, channel, modes.element),
      h("label", { class: "sdw-lab-slider" }, h("span", {}, "brush"), value, valueSaid),
    ),
    h(
      "div",
      { class: "sdw-lab-column" },
      h("figure", {}, picture.element, quality),
      h("div", { class: "sdw-lab-bar" }, undo, redo, reset, save, use),
      list,
    ),
    h(
      "div",
      { class: "sdw-lab-column sdw-lab-knobs" },
      h("h4", { class: "sdw-title" }, "Channels"),
      channels,
      h("h4", { class: "sdw-title" }, "All of it"),
      noise.element,
      moves,
      h("h4", { class: "sdw-title" }, "Principal directions, and their share of the variance"),
      walks,
    ),
  );
  element.addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z") return;
    event.preventDefault();
    event.stopPropagation();
    view.send({ kind: event.shiftKey ? "redo" : "undo" });
  });

  return {
    element,
    update(what: ReadonlySet<What>) {
      if (what.has("edited")) show();
      if (what.has("can_send")) {
        allow(use, view.data.can_send);
        use.title = view.data.can_send
          ? "Give this picture to the Studio, for image to image"
          : "There is no Studio to give it to: sdw.Lab(studio=studio)";
      }
    },
    remove: picture.remove,
  };
};
