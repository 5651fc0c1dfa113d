// The signal-to-noise ratio, in words and as a curve over t.

import { h, svg } from "../lib/dom";
import type { Level } from "./view";

type At = Pick<Level, "t" | "snr_db">;

const [WIDE, HIGH] = [420, 90];
const LAST = 999; // t of the last training step
const MOST = 40; // dB up and down at least, so that the scale stays while levels arrive

/** A ratio of powers, in words. */
export function ratio(db: number): string {
  const times = 10 ** (Math.abs(db) / 10);
  const shown = times < 10 ? times.toFixed(1) : Math.round(times).toLocaleString("en");
  if (Math.abs(db) < 0.5) return "as much image as noise";
  return db > 0 ? `${shown} times more image than noise` : `${shown} times more noise than image`;
}

/** Where a level is in a box of WIDE by HIGH whose middle is 0 dB. */
export function placeOf({ t, snr_db }: At, most: number) {
  return { x: (t / LAST) * WIDE, y: (HIGH / 2) * (1 - snr_db / most) };
}

export function chart() {
  const line = svg("polyline", { class: "sdw-lab-curve" });
  const middle = String(HIGH / 2);
  const zero = svg("line", { class: "sdw-lab-zero", x2: String(WIDE), y1: middle, y2: middle });
  const dot = svg("circle", { class: "sdw-lab-dot", r: "5" });
  const plot = svg("svg", { viewBox: `-6 -6 ${WIDE + 12} ${HIGH + 12}`, class: "sdw-lab-plot" });
  plot.append(zero, line, dot);
  const words = "signal to noise in dB over t; the line is 0 dB";
  return {
    element: h(
      "figure",
      { class: "sdw-lab-graph" },
      plot,
      h("figcaption", { class: "sdw-lab-quiet" }, words),
    ),
    show(levels: readonly At[], here: At | undefined) {
      const most = Math.max(MOST, ...levels.map(({ snr_db }) => Math.abs(snr_db)));
      const points = levels.map((one) => placeOf(one, most));
      line.setAttribute(
        "points",
        points.map(({ x, y }) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" "),
      );
      dot.setAttribute("visibility", here === undefined ? "hidden" : "visible");
      if (here === undefined) return;
      const { x, y } = placeOf(here, most);
      dot.setAttribute("cx", x.toFixed(1));
      dot.setAttribute("cy", y.toFixed(1));
    },
  };
}
