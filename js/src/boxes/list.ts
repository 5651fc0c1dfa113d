// The boxes as a list beside the image, to choose from by keys, and the numbers of the chosen one.

import { aria, h, on, vary, write } from "../lib/dom";
import { isShortcut } from "../lib/keys";
import { css, type RGB } from "../lib/palette";
import { type Corners, withNumber } from "./geometry";
import type { Layout } from "./layout";

const SIDES = ["left", "top", "right", "bottom"] as const;

interface Host {
  layout: Layout;
  allowed(): boolean;
  colour(name: string): RGB;
  chosen(): number;
  choose(index: number): void;
  key(event: KeyboardEvent): boolean; // whether it was a command
}

let made = 0; // for ids

export function list(host: Host) {
  const { layout } = host;
  const id = `sdw-boxes-${++made}`;
  const element = h("div", {
    class: "sdw-bx-list",
    role: "listbox",
    tabindex: 0,
    "aria-label": "Boxes, from back to front",
  });
  const none = h("p", "sdw-pt-note", "No box yet.");
  const fields = SIDES.map((side, which) => {
    const field = h("input", { type: "number", min: 0, max: 1, step: 0.01 });
    on(field, "change", () => {
      const index = host.chosen();
      const box = layout.boxes[index];
      const corners = box && withNumber(box[1], which, field.valueAsNumber);
      if (corners && host.allowed()) {
        layout.set(layout.boxes.map((each, i) => (i === index ? [each[0], corners] : each)));
      }
      update(true);
    });
    return { field, label: h("label", {}, side, field) };
  });
  const numbers = h(
    "div",
    { class: "sdw-bx-numbers", role: "group", "aria-label": "The chosen box, in fractions" },
    ...fields.map(({ label }) => label),
  );

  on(element, "keydown", (event) => {
    if (isShortcut(event)) return;
    const last = layout.boxes.length - 1;
    const here = host.chosen();
    const to = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: last }[event.key];
    if (to !== undefined) {
      if (last >= 0) host.choose(Math.min(Math.max(to, 0), last));
    } else if (!host.key(event)) return;
    event.preventDefault();
  });

  function update(fresh = false) {
    const { boxes } = layout;
    while (element.children.length > boxes.length) element.lastElementChild?.remove();
    while (element.children.length < boxes.length) {
      const place = element.children.length;
      const option = h(
        "div",
        { class: "sdw-bx-option", role: "option", id: `${id}-${place}` },
        h("span", "sdw-swatch"),
        h("span", { class: "sdw-bx-name", dir: "auto" }),
        h("span", "sdw-bx-corners"),
      );
      on(option, "click", () => host.choose(place));
      element.append(option);
    }
    const chosen = host.chosen();
    boxes.forEach(([name, corners], i) => {
      const option = element.children[i] as HTMLElement;
      const [swatch, called, where] = option.children as unknown as HTMLElement[];
      vary(swatch as HTMLElement, "colour", css(host.colour(name)));
      write(called as HTMLElement, name);
      write(where as HTMLElement, shown(corners));
      aria(option, "selected", i === chosen);
    });
    if (boxes[chosen]) aria(element, "activedescendant", `${id}-${chosen}`);
    else element.removeAttribute("aria-activedescendant");
    const option = element.children[chosen] as HTMLElement | undefined;
    if (option) {
      const { offsetTop: top, offsetHeight: height } = option;
      if (top < element.scrollTop) element.scrollTop = top;
      else if (top + height > element.scrollTop + element.clientHeight) {
        element.scrollTop = top + height - element.clientHeight;
      }
    }
    element.hidden = boxes.length === 0;
    none.hidden = boxes.length > 0;
    const box = boxes[chosen];
    numbers.hidden = !box;
    fields.forEach(({ field }, which) => {
      field.disabled = !host.allowed();
      if (!box || (!fresh && field === document.activeElement)) return;
      const value = String(box[1][which]);
      if (field.value !== value) field.value = value;
    });
  }
  return { elements: [element, none, numbers], element, update };
}

const shown = ([x0, y0, x1, y1]: Corners) =>
  `${x0.toFixed(2)}, ${y0.toFixed(2)} – ${x1.toFixed(2)}, ${y1.toFixed(2)}`;
