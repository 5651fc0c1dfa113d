// Where the image comes from: a sample, a file, or what is dropped or pasted; and its size.

import { choice } from "../lib/controls";
import { h } from "../lib/dom";
import { image, type Shown } from "./image";
import type { LabView, Part, Sample } from "./view";

/** A row of images to choose from; one tab stop, arrow keys choose. */
export function thumbnails(label: string, pick: (name: string) => void) {
  const element = h("div", { class: "sdw-lab-samples", role: "radiogroup", "aria-label": label });
  let images: Shown[] = [];
  const all = () => [...element.children] as HTMLElement[];

  const thumbnail = ({ name, caption, data }: Sample) => {
    const shown = image("");
    shown.show(data);
    images.push(shown);
    const attributes = { type: "button", class: "sdw-lab-sample", role: "radio", title: caption };
    const button = h("button", { ...attributes, "aria-label": caption }, shown.element);
    button.dataset.name = name;
    button.addEventListener("click", () => pick(name));
    return button;
  };
  element.addEventListener("keydown", ({ key, target }) => {
    const way = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[key];
    const here = all().indexOf(target as HTMLElement);
    if (way === undefined || here < 0) return;
    const next = all()[(here + way + all().length) % all().length];
    next?.focus();
    next?.click();
  });
  const remove = () => {
    for (const one of images) one.remove();
    images = [];
  };
  return {
    element,
    fill(samples: readonly Sample[]) {
      remove();
      element.replaceChildren(...samples.map(thumbnail));
    },
    mark(chosen: string | undefined) {
      const known = all().some((one) => one.dataset.name === chosen);
      all().forEach((one, i) => {
        const checked = one.dataset.name === chosen;
        one.setAttribute("aria-checked", String(checked));
        one.tabIndex = checked || (!known && i === 0) ? 0 : -1;
      });
    },
    remove,
  };
}

/** A button that opens an image file. */
export function opener(words: string, take: (file: File) => void): HTMLElement {
  const input = h("input", { type: "file", accept: "image/*", hidden: true });
  const button = h("button", { type: "button", class: "sdw-button sdw-lab-open" }, words);
  button.addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    const file = input.files?.[0];
    if (file) take(file);
    input.value = ""; // so that the same file can be opened again
  });
  return h("span", {}, button, input);
}

const SIDES = [64, 128, 256] as const;

export function sources(view: LabView): Part {
  const samples = thumbnails("Sample images", (name) => view.send({ kind: "sample", name }));
  const sides = choice(
    "Size of the image: pixels along its longer side",
    SIDES.map((side) => ({
      value: String(side),
      label: [String(side)],
      title: `The image at ${side} pixels along its longer side`,
    })),
    (side) => view.select({ side: SIDES.find((one) => String(one) === side) ?? 128 }),
  );
  const element = h(
    "div",
    { class: "sdw-lab-sources" },
    samples.element,
    h(
      "div",
      { class: "sdw-lab-open-row" },
      h(
        "div",
        {},
        opener("Open…", (file) => view.open(file)),
        sides.element,
        h("span", { class: "sdw-lab-quiet" }, "pixels"),
      ),
      h("p", { class: "sdw-lab-quiet" }, "or drop or paste an image here"),
    ),
  );
  return {
    element,
    update(what) {
      if (what.has("samples")) samples.fill(view.data.samples);
      if (what.has("samples") || what.has("picture")) samples.mark(view.data.picture?.name);
      if (what.has("side")) sides.show(String(view.selection.side));
    },
    remove: samples.remove,
  };
}
