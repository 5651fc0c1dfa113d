// A control for each edit of latents, except painting.

import { button } from "../lib/button";
import { ALL_CHANNELS, EDIT_LIMIT } from "../lib/contract";
import { symbol } from "../lib/controls";
import { h } from "../lib/dom";
import { type Slider, slider } from "./slider";
import type { Edited, EditJson, LabView } from "./view";

const SCALE = { min: -EDIT_LIMIT, max: EDIT_LIMIT, step: 0.1 };

export interface Knobs {
  readonly element: HTMLElement;
  show(edited: Edited): void;
}

export function knobs(view: LabView): Knobs {
  const edit = (one: EditJson) => view.send({ kind: "edit", edit: one });
  const scale = (channel: number, words: string, label: string) =>
    slider(
      view,
      [words],
      label,
      { edit: { type: "scale", channel }, field: "factor", neutral: 1 },
      SCALE,
    );
  const noise = slider(
    view,
    ["noise ", symbol("σ")],
    "Standard deviation of the added noise",
    { edit: { type: "noise" }, field: "sigma", neutral: 0 },
    { min: 0, max: 3, step: 0.05 },
  );
  const all = scale(ALL_CHANNELS, "all ×", "Factor of all channels");
  const shift = (words: string, way: string, dx: number, dy: number) =>
    button(words, `Shift ${way} by a cell`, () => edit({ type: "shift", dx, dy }));
  const moves = h(
    "div",
    { class: "sdw-lab-moves", role: "group", "aria-label": "Shift and flip" },
    shift("←", "left", -1, 0),
    shift("→", "right", 1, 0),
    shift("↑", "up", 0, -1),
    shift("↓", "down", 0, 1),
    button("Flip ↔", "Flip left and right", () => edit({ type: "flip", axis: "x" })),
    button("Flip ↕", "Flip top and bottom", () => edit({ type: "flip", axis: "y" })),
  );
  const channels = h("div", { class: "sdw-lab-controls sdw-lab-many" });
  const walks = h("div", { class: "sdw-lab-controls" });
  let sliders: Slider[] = [];
  let knocks: HTMLElement[] = [];
  let made = ""; // the autoencoder that the controls are for

  function make({ channels: count, directions }: Edited) {
    knocks = Array.from({ length: count }, (_, channel) =>
      button("off", `Knock channel ${channel} out: 0 everywhere`, () =>
        edit({ type: "knock", channel }),
      ),
    );
    const scales = knocks.map((_, c) => scale(c, `channel ${c} ×`, `Factor of channel ${c}`));
    const rows = scales.map(({ element }, c) =>
      h("div", { class: "sdw-lab-control" }, knocks[c] as HTMLElement, element),
    );
    const walk = directions.map(({ share }, direction) => {
      const percent = `${Math.round(100 * share)} %`;
      return slider(
        view,
        [`direction ${direction + 1}`, h("small", {}, percent)],
        `Walk along principal direction ${direction + 1}, ${percent} of the variance`,
        { edit: { type: "walk", direction }, field: "amount", neutral: 0 },
        SCALE,
      );
    });
    channels.replaceChildren(...rows);
    walks.replaceChildren(...walk.map(({ element }) => element));
    sliders = [noise, all, ...scales, ...walk];
  }

  return {
    element: h(
      "div",
      { class: "sdw-lab-column sdw-lab-knobs" },
      h("p", { class: "sdw-title" }, "Channels"),
      channels,
      h("p", { class: "sdw-title" }, "All of it"),
      all.element,
      noise.element,
      moves,
      h("p", { class: "sdw-title" }, "Principal directions, % of the variance"),
      walks,
    ),
    show(edited) {
      const kind = JSON.stringify([edited.name, edited.channels, edited.directions]);
      if (kind !== made) make(edited);
      made = kind;
      for (const one of sliders) one.show(edited.applied);
      knocks.forEach((knock, channel) => {
        const out = edited.applied.some((one) => one.type === "knock" && one.channel === channel);
        knock.setAttribute("aria-pressed", String(out));
      });
    },
  };
}
