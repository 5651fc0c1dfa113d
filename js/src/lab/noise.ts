// Forward diffusion: the image's latents with the noise of each t, and the network's guess.

import { NOISE_LEVELS } from "../lib/contract";
import { symbol } from "../lib/controls";
import { h, write } from "../lib/dom";
import { level } from "../lib/words";
import { paintRgb } from "./channel";
import { image } from "./image";
import { chart, ratio } from "./snr";
import type { MakePart, What } from "./view";

const LEVELS = NOISE_LEVELS; // in the end; a few arrive at a time
const FIRST = 7; // noise is visible here, and so is the image

export const noise: MakePart = (view) => {
  const latents = h("canvas", { class: "sdw-lab-big sdw-lab-noisy", width: 1, height: 1 });
  latents.setAttribute("role", "img");
  latents.setAttribute("aria-label", "The noisy latents");
  const noisy = image("sdw-lab-big", "The noisy latents decoded");
  const guess = image("sdw-lab-big", "The network's guess of the clean image");
  const slider = h("input", { type: "range", min: 0, max: LEVELS - 1, value: FIRST, step: 1 });
  slider.setAttribute("aria-label", "Training step t: how much noise");
  const words = h("output", {}, "");
  const curve = chart();
  const hint = h("p", { class: "sdw-lab-quiet" }, "");
  const figure = (shown: Node, ...caption: (Node | string)[]) =>
    h("figure", {}, shown, h("figcaption", {}, ...caption));

  function show() {
    const { steps = [], width = 1, height = 1 } = view.data.noise ?? {};
    const whole = steps.length >= LEVELS;
    slider.disabled = steps.length === 0;
    write(hint, whole ? "" : `Noise levels computed: ${steps.length} of ${LEVELS}.`);
    const at = steps[Math.min(Number(slider.value), steps.length - 1)];
    curve.show(steps, at);
    if (at === undefined) return;
    paintRgb(latents, at.latents, width, height);
    noisy.show(at.noisy);
    guess.show(at.guess);
    const db = at.snr_db.toFixed(0).replace("-", "−");
    write(words, `t = ${at.t}, σ = ${level(at.sigma)}: ${ratio(at.snr_db)} (${db} dB)`);
    slider.setAttribute("aria-valuetext", words.textContent);
  }
  slider.addEventListener("input", show);

  return {
    element: h(
      "div",
      { class: "sdw-lab-noise" },
      h(
        "div",
        { class: "sdw-lab-pair" },
        figure(latents, "noisy latents ", symbol("x", "t")),
        figure(noisy.element, "decoded"),
        figure(guess.element, "the network's guess in one step, ", symbol("x̂", "0")),
      ),
      h("div", { class: "sdw-lab-way" }, "no noise", slider, "only noise"),
      h("p", { class: "sdw-lab-said" }, words),
      curve.element,
      hint,
    ),
    update(what: ReadonlySet<What>) {
      if (what.has("noise")) show();
    },
    remove() {
      noisy.remove();
      guess.remove();
    },
  };
};
