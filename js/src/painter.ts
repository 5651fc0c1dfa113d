// An image to paint a mask on. `painter/` has its parts.

import type { AnyModel, Render } from "@anywidget/types";
import { bytes } from "./lib/bytes";
import type { ASKS } from "./lib/contract";
import { h, vary, write } from "./lib/dom";
import { LOST } from "./lib/kernel";
import { keepKeys } from "./lib/keys";
import { Saying } from "./lib/saying";
import { oneForEach } from "./lib/shared";
import { bar } from "./painter/bar";
import { board } from "./painter/board";
import { edges } from "./painter/edges";
import { grid } from "./painter/grid";
import { images } from "./painter/images";
import { ERASER, MASK } from "./painter/paint";
import { type Box, whole } from "./painter/plane";
import { Sketch } from "./painter/sketch";
import { threshold } from "./painter/threshold";
import { SHADES } from "./painter/tint";
import type { Tools } from "./painter/tools";
import type { Model } from "./painter/traits";
import { whole as wholeMask } from "./painter/whole";
import "./painter.css";

const TITLES = {
  brush: "Paint what a run makes new",
  eraser: "Take paint away",
  rectangle: "Paint a rectangle",
  lasso: "Paint what an outline goes around",
  fill: "Paint an area that is closed off by what is painted around it",
};

const sketches = oneForEach((model: AnyModel<Model>) => new Sketch(model, "mask"));

const initialize = ({ model }: { model: AnyModel<Model> }) => {
  sketches.of(model);
  return () => sketches.forget(model);
};

const render: Render<Model> = ({ model, el }) => {
  const sketch = sketches.of(model as AnyModel<Model>);
  const saying = new Saying<(typeof ASKS)["painter"][number]>(model, () => show());
  const tools: Tools = { tool: "brush", size: 40, soft: 0, erase: false, pressure: true };
  const there = () => sketch.plane.width > 0;
  const allowed = () => there() && sketch.ready && !saying.lost;

  // -------------------------------------------------------------------------- an image comes

  const empty = h(
    "div",
    "sdw-pt-empty",
    h("p", {}, "Drop an image here, paste one, or choose a file."),
  );

  // ---------------------------------------------------------------------------- what is done

  const live = h("p", { class: "sdw-pt-live", role: "status" });
  const around = edges({
    size: () => sketch.plane,
    step: () => model.get("factor"),
    scale: () => canvas.place.scale,
    allowed,
    set: (pad) => sketch.ask("pad", { pad }),
    changed: () => show(),
  });
  const network = grid(() => ({
    mask: sketch.plane,
    run: {
      size: model.get("size"),
      fit: model.get("fit"),
      factor: model.get("factor"),
      pad: around.pad,
    },
  }));
  const map = threshold({
    set: (value) => sketch.ask("threshold", { threshold: value }),
    settle: () => sketch.ask("settle"),
  });
  const commands = {
    undo() {
      if (allowed()) sketch.undo();
      write(live, "Undone");
    },
    redo() {
      if (allowed()) sketch.redo();
      write(live, "Done again");
    },
    zoom: (by: number) => canvas.zoom(by),
    fit: () => canvas.fit(),
  };
  const mask = wholeMask({
    empty: () => bytes(model.get("painted")).length === 0,
    change(words, make) {
      if (!allowed()) return;
      if (model.get("mapped")) sketch.ask("settle");
      sketch.change(make);
      write(live, words);
    },
  });
  const controls = bar(
    {
      tools,
      titles: TITLES,
      masks: true,
      more: (button) => [mask.buttons(button), network.toggle],
      keys: { ...mask.keys, c: () => network.toggle.click() },
      undos: () => sketch.undos,
      redos: () => sketch.redos,
      allowed,
      percent: () => `${Math.round(canvas.place.scale * window.devicePixelRatio * 100)} %`,
      changed: () => canvas.update(),
      say: (words) => write(live, words),
    },
    commands,
  );
  const canvas = board({
    sketch,
    tools,
    sheet: () => around.sheet,
    held: () => around.held,
    layers: [around.element, network.element],
    allowed,
    pen: controls.pen,
    say: (words) => write(live, words),
    moved: () => controls.update(),
    key: controls.key,
    step: () => model.get("factor"),
    paint: (erase) => (erase ? ERASER : MASK),
    shades: () => SHADES,
    name: (level) => (level >= 128 ? "painted" : "not painted"),
  });
  canvas.element.setAttribute("aria-label", "Image to paint on");
  canvas.element.setAttribute(
    "aria-description",
    "Arrow keys move the cursor by a latent cell, with Shift by a pixel. Space paints.",
  );

  const image = images({
    model: model as never,
    root: el,
    saying,
    taken: () => heard(),
    picture: (url) => canvas.picture(url),
  });
  const note = h("p", "sdw-pt-note");
  const status = h("p", { class: "sdw-pt-said", role: "status", dir: "auto" });
  const error = h("p", { class: "sdw-error", role: "alert", dir: "auto" });
  const foot = h("div", "sdw-pt-foot", image.choose, image.input, note, status, network.words);
  el.classList.add("sdw", "sdw-drawing", "sdw-painter");
  el.replaceChildren(controls.element, map.element, canvas.element, empty, foot, error, live);

  // ------------------------------------------------------------------------------------ show

  const show = (box?: Box) => {
    image.update(there() ? "Another image…" : "Choose an image…");
    around.update(model.get("pad"));
    empty.hidden = there();
    canvas.element.hidden = controls.element.hidden = !there();
    const { width, height } = around.sheet;
    vary(el, "shape", `${Math.max(width, 1)} / ${Math.max(height, 1)}`);
    write(note, there() ? noteOf(model, around.pad) : "");
    saying.write(status, error, saying.lost ? LOST : model.get("problem"));
    map.update(model.get("mapped") && allowed(), model.get("threshold"));
    network.update();
    canvas.update(box);
    controls.update();
    el.toggleAttribute("data-ready", sketch.ready);
    el.dataset.image = String(model.get("shown"));
  };
  const heard = () => {
    saying.answered();
    show();
  };
  const forget = [
    sketch.onChange((box) => {
      if (!box) return heard();
      canvas.update(box);
      network.update();
    }),
    () => saying.remove(),
    keepKeys(el),
    () => canvas.remove(),
    () => network.remove(),
    () => map.remove(),
    () => image.remove(),
  ];
  show(whole(sketch.plane));
  return () => {
    for (const each of forget) each();
  };
};

/** The image's size, what was done to it, and the size with new area around it. */
function noteOf(model: AnyModel<Model>, [left, top, right, bottom]: Model["pad"]) {
  const [width, height, note] = [model.get("width"), model.get("height"), model.get("note")];
  const [wide, high] = [width + left + right, height + top + bottom];
  const whole = wide > width || high > height ? `, with new area ${wide} x ${high}` : "";
  return [`${width} x ${height} pixels${whole}.`, note].filter(Boolean).join(" ");
}

export default { initialize, render };
