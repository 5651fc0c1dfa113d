// The small image that a model enlarges: a place to drop it, and the result beside plain enlarging.

import type { AnyModel, Render } from "@anywidget/types";
import { button } from "./lib/button";
import { addressOf, type Binary, bytes } from "./lib/bytes";
import type { ASKS } from "./lib/contract";
import { aria, h, on, vary, write } from "./lib/dom";
import { opener, takeFiles } from "./lib/files";
import { keepKeys } from "./lib/keys";
import { Saying } from "./lib/saying";
import "./low_res.css";

export interface Model {
  small: Binary; // PNG of the image itself; empty for none
  before: Binary; // PNG of it, enlarged by bicubic interpolation
  after: Binary; // PNG of the model's result for it; empty before a run
  note: string; // its size, and that of the result
  results: number; // whether there is a last result to use
  problem: string;
}

type Kind = (typeof ASKS)["low_res"][number];

const render: Render<Model> = ({ model, el }) => {
  const saying = new Saying<Kind>(model, () => tell());
  const { say, ask } = saying;
  const send = opener(say, (message, data) => ask("file", message, data));
  const open = (file: File) => void send(file);
  const input = h("input", { type: "file", accept: "image/*", hidden: true });
  on(input, "change", () => {
    const file = input.files?.[0];
    if (file) open(file);
    input.value = ""; // so that the same file can be opened again
  });
  const choose = button("Small image…", "Choose, drop or paste the image to enlarge", () =>
    input.click(),
  );
  const last = button("Use the last result", "Enlarge the newest image", () => ask("last"));
  const remove = button("Remove", "Enlarge nothing", () => {
    ask("drop");
    choose.focus();
  });
  const note = h("span", "sdw-low-note");
  const bar = h("div", "sdw-low-bar", h("span", "sdw-low-title", "small image"));
  bar.append(choose, input, last, remove, note);

  const picture = (kind: string, alt: string) =>
    h("img", { class: `sdw-low-${kind}`, alt, draggable: "false" });
  const small = picture("small", "the small image");
  const before = picture("before", "enlarged by bicubic interpolation");
  const after = picture("after", "enlarged by the model");
  const slider = h("input", { type: "range", min: 0, max: 100, step: 1, value: 50 });
  aria(slider, "label", "Bicubic left of the line, the model's result right of it");
  const frame = h(
    "div",
    "sdw-low-frame",
    after,
    before,
    h("span", { class: "sdw-low-line", "aria-hidden": "true" }),
    h("span", "sdw-low-of sdw-low-left", "bicubic"),
    h("span", "sdw-low-of sdw-low-right", "model"),
    slider,
  );
  const move = () => {
    vary(frame, "at", `${slider.value}%`);
    aria(slider, "valuetext", `${slider.value} % bicubic`);
  };
  on(slider, "input", move);
  move();
  const images = h("div", "sdw-low-images", small, frame);
  const status = h("p", { class: "sdw-low-note", role: "status" });
  const error = h("p", { class: "sdw-error", role: "alert", dir: "auto" });
  el.classList.add("sdw", "sdw-low");
  el.replaceChildren(bar, images, status, error);

  const urls = new Map<HTMLImageElement, string>();
  const drawn = new Map<HTMLImageElement, unknown>();
  const forget = (image: HTMLImageElement) => {
    URL.revokeObjectURL(urls.get(image) ?? "");
    urls.delete(image);
  };
  /** Shows an image, or hides it; returns whether there is one. */
  const draw = (image: HTMLImageElement, data: Binary) => {
    const there = bytes(data).length > 0;
    if (drawn.get(image) !== data) {
      drawn.set(image, data);
      forget(image);
      if (there) {
        const url = addressOf(data, "image/png");
        urls.set(image, url);
        image.src = url;
      } else image.removeAttribute("src");
    }
    image.hidden = !there;
    return there;
  };
  /** Shows what is said, the kernel's or the page's own. */
  function tell() {
    saying.write(status, error, model.get("problem"));
  }
  function show() {
    const there = draw(small, model.get("small"));
    draw(before, model.get("before"));
    const made = draw(after, model.get("after"));
    images.hidden = remove.hidden = !there;
    frame.toggleAttribute("data-made", made);
    slider.disabled = !made;
    last.hidden = !model.get("results");
    write(choose, there ? "Another image…" : "Small image…");
    write(note, there ? (model.get("note") ?? "") : "drop it here");
    tell();
  }
  const heard = () => {
    saying.answered();
    show();
  };
  show();
  model.on("change", heard);
  (model as AnyModel).on("msg:custom", heard); // the same file again changes nothing
  const letGo = takeFiles(el, open);
  const free = keepKeys(el);
  return () => {
    model.off("change", heard);
    (model as AnyModel).off("msg:custom", heard);
    saying.remove();
    letGo();
    free();
    for (const image of [...urls.keys()]) forget(image);
  };
};

export default { render };
