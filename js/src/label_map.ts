// A map of classes to paint, perhaps over an image. `label_map/` and `painter/` have its parts.

import type { AnyModel, Render } from "@anywidget/types";
import { shadesOf } from "./label_map/shades";
import type { Model } from "./label_map/traits";
import { bytes } from "./lib/bytes";
import type { ASKS } from "./lib/contract";
import { h, on, vary, write } from "./lib/dom";
import { LOST } from "./lib/kernel";
import { keepKeys } from "./lib/keys";
import { palette } from "./lib/palette";
import { Saying } from "./lib/saying";
import { oneForEach } from "./lib/shared";
import { bar, slider } from "./painter/bar";
import { board } from "./painter/board";
import { images } from "./painter/images";
import { paintOf } from "./painter/paint";
import { type Box, whole } from "./painter/plane";
import { Sketch } from "./painter/sketch";
import type { Tools } from "./painter/tools";
import "./label_map.css";

const TITLES = {
  brush: "Paint with the class in hand",
  eraser: "Paint with class 0",
  rectangle: "Paint a rectangle",
  lasso: "Paint what an outline goes around",
  fill: "Paint all that touches and is of one class",
};
const STEPS = 16; // of the cursor across the map

const sketches = oneForEach((model: AnyModel<Model>) => new Sketch(model as never, "map"));

const initialize = ({ model }: { model: AnyModel<Model> }) => {
  sketches.of(model);
  return () => sketches.forget(model);
};

const render: Render<Model> = ({ model, el }) => {
  const sketch = sketches.of(model as AnyModel<Model>);
  const saying = new Saying<(typeof ASKS)["label_map"][number]>(model, () => show());
  let hand = 1; // the class to paint with
  const tools: Tools = { tool: "brush", size: 16, soft: 0, erase: false, pressure: true };
  const classes = () => model.get("classes") ?? [];
  const nameOf = (value: number) => classes()[value] ?? `class ${value}`;
  const allowed = () => sketch.ready && !saying.lost && classes().length > 0;

  // ---------------------------------------------------------------------------- what is done

  const live = h("p", { class: "sdw-pt-live", role: "status" });
  const take = (value: number) => {
    hand = value;
    if (tools.tool === "eraser") tools.tool = "brush";
    write(live, `In hand: ${nameOf(value)}`);
    show();
  };
  const choose = palette("Class to paint with", take);
  const opacity = slider("opacity", 65, [10, 100, 5]);
  on(opacity.input, "input", () => show());
  const clear = () => {
    if (!allowed()) return;
    sketch.change(({ data }) => void data.fill(0));
    write(live, "Cleared");
  };
  const travel = (way: "undo" | "redo") => () => {
    if (!allowed()) return;
    sketch[way]();
    write(live, way === "undo" ? "Undone" : "Done again");
  };
  const empty = () => bytes(model.get("painted")).length === 0;
  const next = (by: number) => () => {
    const count = classes().length;
    if (count > 0) take((hand + by + count) % count);
  };
  const controls = bar(
    {
      tools,
      titles: TITLES,
      masks: false,
      more: (button) => [
        button("Clear", "Paint class 0 everywhere (Delete)", clear, () => !empty()),
        opacity.element,
      ],
      keys: {
        Delete: clear,
        Backspace: clear,
        ",": next(-1),
        ".": next(1),
        p: () => {
          if (canvas.value !== undefined) take(canvas.value);
        },
        "/": () => choose.search(),
      },
      undos: () => sketch.undos,
      redos: () => sketch.redos,
      allowed,
      percent: () => `${Math.round(canvas.place.scale * window.devicePixelRatio * 100)} %`,
      changed: () => show(),
      say: (words) => write(live, words),
    },
    {
      undo: travel("undo"),
      redo: travel("redo"),
      zoom: (by) => canvas.zoom(by),
      fit: () => canvas.fit(),
    },
  );
  const over = h("p", "sdw-map-over");
  const canvas = board({
    sketch,
    tools,
    sheet: () => whole(sketch.plane),
    held: () => false,
    layers: [],
    allowed,
    pen: controls.pen,
    say: (words) => write(live, words),
    moved: () => controls.update(),
    key: controls.key,
    step: () => Math.max(Math.round(Math.max(sketch.plane.width, sketch.plane.height) / STEPS), 1),
    paint: (erase) => paintOf(erase ? 0 : hand),
    shades: () => shadesOf(model.get("colours") ?? []),
    name: nameOf,
    pick: take,
    over: (value) => write(over, value === undefined ? "" : nameOf(value)),
  });
  canvas.element.setAttribute("aria-label", "Map to paint on");
  canvas.element.setAttribute(
    "aria-description",
    "Arrow keys move the cursor, with Shift by a pixel. Space paints. Comma and full stop choose the class, P takes the one under the cursor, and a slash searches.",
  );

  const image = images({
    model: model as never,
    root: el,
    saying,
    taken: () => heard(),
    picture: (url) => canvas.picture(url),
  });
  const drop = h("button", { class: "sdw-button", title: "Take the image away; the map stays" });
  drop.append("Remove the image");
  on(drop, "click", () => saying.ask("drop"));
  const note = h("p", "sdw-pt-note");
  const status = h("p", { class: "sdw-pt-said", role: "status", dir: "auto" });
  const error = h("p", { class: "sdw-error", role: "alert", dir: "auto" });
  const stage = h("div", "sdw-map-stage", canvas.element, over);
  const main = h("div", "sdw-map-main", stage, choose.element);
  const foot = h("div", "sdw-pt-foot", image.choose, drop, image.input, note, status);
  el.classList.add("sdw", "sdw-drawing", "sdw-map-root");
  el.replaceChildren(controls.element, main, foot, error, live);

  // ------------------------------------------------------------------------------------ show

  let colours: unknown;
  const show = (box?: Box) => {
    const there = bytes(model.get("picture")).length > 0;
    image.update(there ? "Another image…" : "Image to trace…");
    opacity.element.hidden = drop.hidden = !there;
    write(opacity.said, `${opacity.input.value} %`);
    const { width, height } = sketch.plane;
    vary(el, "shape", `${Math.max(width, 1)} / ${Math.max(height, 1)}`);
    vary(el, "opacity", there ? Number(opacity.input.value) / 100 : 1);
    hand = Math.min(hand, Math.max(classes().length - 1, 0));
    choose.show(classes(), model.get("colours") ?? [], tools.tool === "eraser" ? 0 : hand);
    write(note, [`${width} x ${height} pixels.`, model.get("note")].filter(Boolean).join(" "));
    saying.write(status, error, saying.lost ? LOST : model.get("problem"));
    const recoloured = colours !== model.get("colours");
    colours = model.get("colours");
    canvas.update(recoloured ? whole(sketch.plane) : box);
    controls.update();
    el.toggleAttribute("data-ready", sketch.ready);
    el.dataset.image = String(model.get("shown"));
  };
  const heard = () => {
    saying.answered();
    show();
  };
  const forget = [
    sketch.onChange((box) => (box ? canvas.update(box) : heard())),
    () => saying.remove(),
    keepKeys(el),
    () => canvas.remove(),
    () => image.remove(),
  ];
  show(whole(sketch.plane));
  return () => {
    for (const each of forget) each();
  };
};

export default { initialize, render };
