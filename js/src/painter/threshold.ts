// The threshold of the map that the mask follows, as long as it does.

import { h, on, write } from "../lib/dom";

const INTERVAL = 60; // ms between two messages, at least

export function threshold(host: { set(value: number): void; settle(): void }) {
  const slider = h("input", { type: "range", min: 0, max: 1, step: 0.01 });
  const said = h("output", {});
  const done = h("button", { class: "sdw-button", title: "Keep the mask as it is" }, "Done");
  const element = h(
    "div",
    { class: "sdw-pt-map", role: "group", "aria-label": "Mask from a map", hidden: true },
    h("label", "sdw-pt-slider", "Map: painted from", slider, said),
    done,
  );
  let timer: ReturnType<typeof setTimeout> | undefined;
  let waiting = false;
  const send = () => {
    waiting = false;
    host.set(Number(slider.value));
    timer = setTimeout(() => {
      timer = undefined;
      if (waiting) send();
    }, INTERVAL);
  };
  on(slider, "input", () => {
    write(said, Number(slider.value).toFixed(2));
    waiting = true;
    if (!timer) send();
  });
  on(done, "click", host.settle);
  let shown: number | undefined;
  return {
    element,
    update(mapped: boolean, value: number) {
      if (!mapped && element.contains(document.activeElement)) {
        element.closest(".sdw-painter")?.querySelector<HTMLElement>(".sdw-pt-board")?.focus();
      }
      element.hidden = !mapped;
      if (value === shown || timer) return; // the slider may be in somebody's hand
      shown = value;
      slider.value = String(value);
      write(said, value.toFixed(2));
    },
    remove: () => clearTimeout(timer),
  };
}
