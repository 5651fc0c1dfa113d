// From one picture to another: through their latents, and through their pixels.

import { h, write } from "../lib/dom";
import { bytes } from "../lib/frames";
import { image } from "./image";
import type { MakePart, What } from "./view";

/** The frame at a share of the way, of so many. */
export function frameAt(share: number, count: number): number {
  return Math.min(Math.max(Math.round(share * (count - 1)), 0), count - 1);
}

export const between: MakePart = (view) => {
  const latent = image("sdw-lab-big", "Half way through latents");
  const pixel = image("sdw-lab-big", "Half way through pixels");
  const slider = h("input", { type: "range", min: 0, max: 100, value: 50, step: 1 });
  slider.setAttribute("aria-label", "How far on the way from the first picture to the second");
  const share = h("output", { class: "sdw-lab-quiet" }, "50 %");
  const swap = h("button", { type: "button", class: "sdw-button" }, "Swap");
  swap.title = "The two pictures change places";
  swap.addEventListener("click", () => view.send({ kind: "swap" }));
  const picks = h("div", { class: "sdw-lab-samples", role: "group" });
  picks.setAttribute("aria-label", "The second picture");
  const urls: string[] = [];
  const file = h("input", { type: "file", accept: "image/*", hidden: true });
  const open = h("button", { type: "button", class: "sdw-button" }, "Open…");
  open.addEventListener("click", () => file.click());
  file.addEventListener("change", () => {
    const [chosen] = file.files ?? [];
    if (chosen !== undefined) view.open(chosen, true);
    file.value = "";
  });
  const body = h(
    "div",
    { class: "sdw-lab-pair" },
    h("figure", {}, latent.element, h("figcaption", {}, "through latents z, decoded")),
    h("figure", {}, pixel.element, h("figcaption", {}, "through pixels")),
  );
  const hint = h("p", { class: "sdw-lab-quiet" }, "");

  function show() {
    const way = view.data.between;
    const way_is = way !== undefined;
    body.classList.toggle("sdw-lab-empty", !way_is);
    slider.disabled = !way_is;
    write(
      hint,
      way_is
        ? ""
        : view.data.second === undefined
          ? "Choose a second picture."
          : "The pictures in between are being worked out.",
    );
    if (way === undefined) return;
    const at = frameAt(Number(slider.value) / 100, way.steps);
    latent.show(way.latent[at]);
    pixel.show(way.pixel[at]);
    write(share, `${slider.value} %`);
    slider.setAttribute("aria-valuetext", `${slider.value} per cent of the way`);
  }
  slider.addEventListener("input", show);

  function offer() {
    for (const url of urls.splice(0)) URL.revokeObjectURL(url);
    picks.replaceChildren(
      ...view.data.samples.map((sample) => {
        const url = URL.createObjectURL(new Blob([bytes(sample.data).slice()]));
        urls.push(url);
        const picture = h("img", { src: url, alt: sample.caption });
        const button = h("button", { type: "button", class: "sdw-lab-sample" }, picture);
        button.title = sample.caption;
        button.dataset.name = sample.name;
        button.addEventListener("click", () => {
          view.send({ kind: "sample", name: sample.name, second: true });
        });
        return button;
      }),
    );
  }

  return {
    element: h(
      "div",
      { class: "sdw-lab-between" },
      h(
        "div",
        { class: "sdw-lab-bar" },
        h("span", { class: "sdw-lab-quiet" }, "second picture"),
        picks,
        open,
        swap,
        file,
      ),
      body,
      h("div", { class: "sdw-lab-way" }, "first", slider, "second", share),
      hint,
    ),
    update(what: ReadonlySet<What>) {
      if (what.has("samples")) offer();
      if (what.has("second")) {
        for (const button of picks.querySelectorAll<HTMLElement>("button")) {
          button.setAttribute(
            "aria-checked",
            String(button.dataset.name === view.data.second?.name),
          );
        }
      }
      if (what.has("between") || what.has("second")) show();
    },
    remove() {
      for (const url of urls) URL.revokeObjectURL(url);
      latent.remove();
      pixel.remove();
    },
  };
};
