// Boxes with names, drawn by hand, perhaps over an image. `boxes/` has its parts.

import type { AnyModel, Render } from "@anywidget/types";
import { board, words } from "./boxes/board";
import { type Corners, type NamedBox, rounded } from "./boxes/geometry";
import { Layout } from "./boxes/layout";
import { list } from "./boxes/list";
import type { Model } from "./boxes/traits";
import { bytes } from "./lib/bytes";
import type { ASKS } from "./lib/contract";
import { h, on, vary, write } from "./lib/dom";
import { LOST } from "./lib/kernel";
import { keepKeys } from "./lib/keys";
import { clamp } from "./lib/numbers";
import { palette, type RGB } from "./lib/palette";
import { Saying } from "./lib/saying";
import { oneForEach } from "./lib/shared";
import { buttons, group } from "./painter/buttons";
import { images } from "./painter/images";
import "./boxes.css";

const GREY: RGB = [128, 128, 128];

const layouts = oneForEach((model: AnyModel<Model>) => new Layout(model));

const initialize = ({ model }: { model: AnyModel<Model> }) => {
  layouts.of(model);
  return () => layouts.forget(model);
};

const render: Render<Model> = ({ model, el }) => {
  const layout = layouts.of(model as AnyModel<Model>);
  const saying = new Saying<(typeof ASKS)["boxes"][number]>(model, () => show());
  let chosen = -1;
  let hand = ""; // the name of the next box
  const classes = () => model.get("classes") ?? [];
  const allowed = () => !saying.lost;
  const full = () => layout.boxes.length >= model.get("most");
  const nextName = () => hand || classes()[0] || "thing";
  const colour = (name: string) => model.get("colours")?.[classes().indexOf(name)] ?? GREY;

  // ---------------------------------------------------------------------------- what is done

  const live = h("p", { class: "sdw-pt-live", role: "status" });
  const tell = (words: string) => write(live, words);
  const choose = (index: number) => {
    if (index === chosen) return;
    chosen = index;
    const box = layout.boxes[index];
    if (box) hand = box[0];
    tell(box ? `${box[0]}, ${words(box[1])}` : "No box is chosen");
    show();
  };
  const set = (boxes: readonly NamedBox[], index: number, words: string) => {
    chosen = index;
    layout.set(boxes);
    tell(words);
    show();
  };
  const some = () => layout.boxes[chosen] !== undefined;

  /** A box in the middle, a little off the last one that was put there. */
  const add = () => {
    if (full()) return tell("There can be no more boxes.");
    const off = 0.05 * (layout.boxes.length % 5);
    const corners = [0.3 + off, 0.3 + off, 0.6 + off, 0.6 + off].map(rounded);
    const box: NamedBox = [nextName(), corners as unknown as Corners];
    set([...layout.boxes, box], layout.boxes.length, `${box[0]} added`);
    canvas.element.focus({ preventScroll: true });
  };
  const remove = () => {
    const name = layout.boxes[chosen]?.[0];
    if (name === undefined) return;
    const rest = layout.boxes.filter((_, i) => i !== chosen);
    set(rest, Math.min(chosen, rest.length - 1), `${name} deleted`);
  };
  const order = (by: number) => () => {
    const to = clamp(chosen + by, 0, layout.boxes.length - 1);
    const box = layout.boxes[chosen];
    if (!box || to === chosen) return;
    const rest = layout.boxes.filter((_, i) => i !== chosen);
    rest.splice(to, 0, box);
    set(rest, to, `${box[0]}: ${to + 1} of ${layout.boxes.length} from the back`);
  };
  const rename = (name: string) => {
    hand = name;
    const box = layout.boxes[chosen];
    if (box && box[0] !== name) {
      const boxes = layout.boxes.map(
        (each, i): NamedBox => (i === chosen ? [name, each[1]] : each),
      );
      set(boxes, chosen, `${box[0]} is now ${name}`);
    } else show();
  };
  const travel = (way: "undo" | "redo") => () => {
    layout[way]();
    tell(way === "undo" ? "Undone" : "Done again");
  };

  const tools = buttons(allowed);
  const bar = h(
    "div",
    "sdw-pt-row sdw-bx-bar",
    group(
      "Changes",
      tools.button("Undo", "Undo (Z)", travel("undo"), () => layout.undos > 0, "undo"),
      tools.button("Redo", "Redo (Y)", travel("redo"), () => layout.redos > 0, "redo"),
    ),
    group(
      "The chosen box",
      tools.button(
        "New box",
        "Add a box in the middle (N); or drag on the image",
        add,
        () => !full(),
      ),
      tools.button("Delete", "Delete the chosen box (Delete)", remove, some),
      tools.button("Backward", "Behind the box below it ([)", order(-1), () => chosen > 0),
      tools.button(
        "Forward",
        "In front of the box above it (])",
        order(1),
        () => some() && chosen < layout.boxes.length - 1,
      ),
    ),
    group(
      "All boxes",
      tools.button(
        "Clear",
        "Delete all boxes",
        () => set([], -1, "Cleared"),
        () => layout.boxes.length > 0,
      ),
    ),
  );
  const commands: Record<string, () => void> = {
    z: travel("undo"),
    y: travel("redo"),
    n: add,
    Delete: remove,
    Backspace: remove,
    "[": order(-1),
    "]": order(1),
    "/": () => toName(),
    Enter: () => toName(),
  };
  const key = (event: KeyboardEvent) => {
    const act = commands[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (act && allowed()) act();
    return act !== undefined;
  };

  // ------------------------------------------------------------------------------------ parts

  const pick = palette("Class of the box", (i) => rename(classes()[i] as string));
  const name = h("input", {
    class: "sdw-palette-search",
    type: "text",
    "aria-label": "Name of the box",
  });
  on(name, "change", () => {
    if (name.value.trim()) rename(name.value.trim());
  });
  const toName = () => {
    if (classes().length > 0) pick.search();
    else name.focus();
  };
  const host = { layout, allowed, full, colour, chosen: () => chosen, choose, key };
  const canvas = board({ ...host, name: nextName, say: tell });
  canvas.element.setAttribute("aria-label", "Boxes on the image");
  canvas.element.setAttribute(
    "aria-description",
    "N adds a box. Arrow keys move the chosen one, with Shift they resize it; Page Up and Page Down choose another, and a slash goes to its class.",
  );
  const beside = list(host);
  const image = images({
    model: model as never,
    root: el,
    saying,
    taken: () => heard(),
    picture: canvas.picture,
  });
  const drop = h("button", { class: "sdw-button", title: "Take the image away; the boxes stay" });
  drop.append("Remove the image");
  on(drop, "click", () => saying.ask("drop"));
  const hint = h(
    "p",
    "sdw-pt-note",
    "Drag to draw a box. Click one to choose it, and again for the one below it.",
  );
  const note = h("p", "sdw-pt-note");
  const status = h("p", { class: "sdw-pt-said", role: "status", dir: "auto" });
  const error = h("p", { class: "sdw-error", role: "alert", dir: "auto" });
  const side = h("div", "sdw-bx-side", pick.element, name, ...beside.elements);
  const main = h("div", "sdw-bx-main", h("div", "sdw-bx-room", canvas.element, hint), side);
  const foot = h("div", "sdw-pt-foot", image.choose, drop, image.input, note, status);
  el.classList.add("sdw", "sdw-drawing", "sdw-boxes");
  el.replaceChildren(bar, main, foot, error, live);

  // ------------------------------------------------------------------------------------ show

  function show() {
    const there = bytes(model.get("picture")).length > 0;
    chosen = Math.min(chosen, layout.boxes.length - 1);
    image.update(there ? "Another image…" : "Image to draw over…");
    drop.hidden = !there;
    const [width, height] = [model.get("width"), model.get("height")];
    vary(el, "shape", Math.max(width, 1) / Math.max(height, 1));
    const named = classes();
    pick.element.hidden = named.length === 0;
    name.hidden = named.length > 0;
    const now = layout.boxes[chosen]?.[0] ?? nextName();
    pick.show(named, model.get("colours") ?? [], named.indexOf(now));
    if (document.activeElement !== name) name.value = now;
    write(note, [`${width} x ${height} pixels.`, model.get("note")].filter(Boolean).join(" "));
    saying.write(status, error, saying.lost ? LOST : model.get("problem"));
    canvas.update();
    beside.update();
    tools.update();
    el.dataset.boxes = String(layout.boxes.length);
  }
  const heard = () => {
    saying.answered();
    show();
  };
  const forget = [layout.onChange(heard), () => saying.remove(), keepKeys(el), image.remove];
  show();
  return () => {
    for (const each of forget) each();
  };
};

export default { initialize, render };
