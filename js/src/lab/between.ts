// From one image to another: through their latents, and through their pixels.

import { allow, button } from "../lib/button";
import { h, write } from "../lib/dom";
import { image } from "./image";
import { opener, thumbnails } from "./sources";
import type { MakePart, What } from "./view";

/** The index of the frame at a share (0 to 1) of the way. */
export function frameAt(share: number, count: number): number {
  return Math.min(Math.max(Math.round(share * (count - 1)), 0), count - 1);
}

export const between: MakePart = (view) => {
  const samples = thumbnails("Second image: samples", (name) =>
    view.send({ kind: "sample", name, second: true }),
  );
  const swap = button("Swap", "Swap the two images", () => view.send({ kind: "swap" }));
  const latent = image("sdw-lab-big", "On the way through latents");
  const pixel = image("sdw-lab-big", "On the way through pixels");
  const first = image("sdw-lab-end", "First image");
  const last = image("sdw-lab-end", "Second image");
  const slider = h("input", { type: "range", min: 0, max: 100, value: 50, step: 1 });
  slider.setAttribute("aria-label", "How far from the first image to the second");
  const share = h("output", { class: "sdw-lab-quiet" }, "");
  const hint = h("p", { class: "sdw-lab-quiet" }, "");
  const body = h(
    "div",
    { class: "sdw-lab-pair" },
    h("figure", {}, latent.element, h("figcaption", {}, "through latents, decoded")),
    h("figure", {}, pixel.element, h("figcaption", {}, "through pixels: a cross-fade")),
  );

  function show() {
    const { between: way, picture, second } = view.data;
    body.classList.toggle("sdw-lab-empty", way === undefined);
    slider.disabled = way === undefined;
    allow(swap, picture !== undefined && second !== undefined);
    first.show(picture?.data);
    last.show(second?.data);
    const wait = second ? "The images in between are being computed." : "Choose a second image.";
    write(hint, way === undefined ? wait : "");
    write(share, `${slider.value} %`);
    slider.setAttribute("aria-valuetext", `${slider.value} percent of the way`);
    const at = frameAt(Number(slider.value) / 100, way?.steps ?? 1);
    latent.show(way?.latent[at]);
    pixel.show(way?.pixel[at]);
  }
  slider.addEventListener("input", show);

  return {
    element: h(
      "div",
      { class: "sdw-lab-between" },
      h(
        "div",
        { class: "sdw-lab-bar" },
        h("span", { class: "sdw-lab-quiet" }, "second image"),
        samples.element,
        opener("Open…", (file) => view.open(file, true)),
        swap,
      ),
      body,
      h("div", { class: "sdw-lab-way" }, first.element, slider, last.element, share),
      hint,
    ),
    update(what: ReadonlySet<What>) {
      if (what.has("samples")) samples.fill(view.data.samples);
      if (what.has("samples") || what.has("second")) samples.mark(view.data.second?.name);
      if (what.has("between") || what.has("second") || what.has("picture")) show();
    },
    remove() {
      for (const one of [samples, latent, pixel, first, last]) one.remove();
    },
  };
};
