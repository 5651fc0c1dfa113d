// Forward diffusion: the picture's latents with the noise of each t, and what the network sees in it.

import { symbol } from "../lib/controls";
import { h, svg, write } from "../lib/dom";
import { level } from "../lib/words";
import { paintRgb } from "./channel";
import { image } from "./image";
import type { Level, MakePart, What } from "./view";

const [WIDE, HIGH] = [420, 90];
const LAST = 999; // of the training steps; the kernel says which were taken

/** The curve of the signal-to-noise ratio in dB over t, within WIDE by HIGH. */
export function curve(levels: readonly Pick<Level, "t" | "snr_db">[]) {
  const [low, high] = [
    Math.min(...levels.map((one) => one.snr_db), -1),
    Math.max(...levels.map((one) => one.snr_db), 1),
  ];
  const at = ({ t, snr_db }: Pick<Level, "t" | "snr_db">) => ({
    x: (t / LAST) * WIDE,
    y: HIGH * (1 - (snr_db - low) / (high - low)),
  });
  const points = levels.map(at).map(({ x, y }) => `${x.toFixed(1)},${y.toFixed(1)}`);
  return { points: points.join(" "), at, zero: HIGH * (1 - (0 - low) / (high - low)) };
}

/** A ratio of powers in words. */
export function ratio(db: number): string {
  const times = 10 ** (Math.abs(db) / 10);
  const shown = times >= 10 ? times.toFixed(0) : times.toFixed(1);
  if (Math.abs(db) < 0.5) return "as much picture as noise";
  return db > 0
    ? `${shown} times more picture than noise`
    : `${shown} times more noise than picture`;
}

export const noise: MakePart = (view) => {
  const latents = h("canvas", { class: "sdw-lab-channel sdw-lab-big", width: 1, height: 1 });
  const noisy = image("sdw-lab-big", "The noisy latents decoded");
  const guess = image("sdw-lab-big", "The network's guess of the clean picture");
  const slider = h("input", { type: "range", min: 0, max: 0, value: 0, step: 1 });
  slider.setAttribute("aria-label", "Training step t: how much noise");
  const words = h("output", {}, "");
  const line = svg("polyline", { class: "sdw-lab-curve" });
  const zero = svg("line", { class: "sdw-lab-zero", x1: "0", x2: String(WIDE) });
  const spot = svg("circle", { class: "sdw-lab-dot", r: "5" });
  const plot = svg("svg", { viewBox: `-6 -6 ${WIDE + 12} ${HIGH + 12}`, class: "sdw-lab-plot" });
  plot.append(zero, line, spot);
  const hint = h("p", { class: "sdw-lab-quiet" }, "");
  const figure = (picture: Node, ...caption: (Node | string)[]) =>
    h("figure", {}, picture, h("figcaption", {}, ...caption));

  function show() {
    const steps = view.data.noise?.steps ?? [];
    slider.disabled = steps.length === 0;
    slider.max = String(Math.max(steps.length - 1, 0));
    const at = steps[Math.min(Number(slider.value), steps.length - 1)];
    write(hint, steps.length === 0 ? "The noise levels are being worked out." : "");
    if (at === undefined || view.data.noise === undefined) return;
    const { width, height } = view.data.noise;
    paintRgb(latents, at.latents, width, height);
    noisy.show(at.noisy);
    guess.show(at.guess);
    write(
      words,
      `t = ${at.t}, σ = ${level(at.sigma)}: ${ratio(at.snr_db)} (${at.snr_db.toFixed(0)} dB)`,
    );
    slider.setAttribute("aria-valuetext", words.textContent ?? "");
    const drawn = curve(steps);
    line.setAttribute("points", drawn.points);
    zero.setAttribute("y1", drawn.zero.toFixed(1));
    zero.setAttribute("y2", drawn.zero.toFixed(1));
    const { x, y } = drawn.at(at);
    spot.setAttribute("cx", x.toFixed(1));
    spot.setAttribute("cy", y.toFixed(1));
  }
  slider.addEventListener("input", show);
  let chosen = false;
  slider.addEventListener("input", () => {
    chosen = true;
  });

  return {
    element: h(
      "div",
      { class: "sdw-lab-noise" },
      h(
        "div",
        { class: "sdw-lab-pair" },
        figure(latents, "noisy latents ", symbol("x", "t")),
        figure(noisy.element, "decoded"),
        figure(guess.element, "the network's one guess ", symbol("x̂", "0")),
      ),
      h("div", { class: "sdw-lab-way" }, "no noise", slider, "noise alone"),
      h("p", { class: "sdw-lab-said" }, words),
      h(
        "figure",
        { class: "sdw-lab-graph" },
        plot as unknown as Node,
        h(
          "figcaption",
          { class: "sdw-lab-quiet" },
          "signal to noise in dB over t; the line is 0 dB",
        ),
      ),
      hint,
    ),
    update(what: ReadonlySet<What>) {
      if (!what.has("noise")) return;
      const count = view.data.noise?.steps.length ?? 0;
      slider.max = String(Math.max(count - 1, 0));
      if (!chosen) slider.value = String(Math.floor(count / 3)); // where something is to be seen
      show();
    },
    remove() {
      noisy.remove();
      guess.remove();
    },
  };
};
