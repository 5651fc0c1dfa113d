// The difference between two runs at the step on show.

import { apart, explained, paintDifference, pixels } from "../lib/difference";
import { h, write } from "../lib/dom";
import { change, clean, paint, preview } from "../lib/latents";
import type { Frame } from "../lib/reel";
import type { Show } from "../lib/show";
import { guidanceOf, imageOf, type Panel, type What } from "../lib/view";
import { onStage, setShape, shapeOf } from "./screen";

/** The second run's image minus the first's, around grey; empty if their sizes differ. */
export function difference(first: Show, second: Show): Panel {
  const canvas = h("canvas", { class: "sdw-c-map", role: "img", "aria-label": "difference" });
  const words = h("p", "sdw-c-note");
  const element = h(
    "figure",
    "sdw-c-difference",
    h("div", "sdw-v-stage", h("div", "sdw-v-picture", canvas)),
    h("figcaption", {}, h("p", "sdw-c-where", "difference"), words),
  );
  let asked = 0; // decoding takes a while, and only the last request is shown

  const say = (found: string | undefined) => {
    element.dataset.found = String(found !== undefined);
    write(words, found ?? "The two differ in size.");
  };
  const update = (what: What) => {
    if (what === "hover") return;
    asked += 1;
    setShape(element, shapeOf(first));
    const names = [onStage(first), onStage(second)];
    if (names.every((name) => name === "picture")) {
      const now = asked;
      const pictures = [first, second].map((one) => one.pictures[imageOf(one)]);
      Promise.all(pictures.map(pixels)).then(([a, b]) => {
        if (now === asked) say(a && b && paintDifference(canvas, a, b));
      });
    } else say(paintLatents(canvas, first, second));
  };
  update("data");
  return { element, update };
}

function paintLatents(canvas: HTMLCanvasElement, first: Show, second: Show) {
  const [a, b] = [first, second].map((one) => one.reel.at(one.selection.step));
  if (!a || !b) return undefined;
  const of = (frame: Frame) =>
    first.selection.view === "noisy" ? frame.x : clean(frame, guidanceOf(first));
  const [before, after] = [of(a), of(b)];
  const [channels, h_, w_] = a.size.slice(1);
  const same = [channels, h_, w_].join() === b.size.slice(1).join();
  if (!before || !after || !same) return undefined;
  const cut = (values: Float32Array, which: number) => {
    const each = (channels as number) * (h_ as number) * (w_ as number);
    return values.subarray(which * each, (which + 1) * each);
  };
  const size = [1, channels, h_, w_] as [number, number, number, number];
  const factors = first.reel.header?.factors ?? [];
  const plane = change(cut(after, imageOf(second)), cut(before, imageOf(first)), size, 0, factors);
  paint(canvas, plane);
  const [left, right] = [before, after].map((values, i) =>
    preview(values, (i === 0 ? a : b).size, imageOf(i === 0 ? first : second), factors),
  );
  return left && right && explained(apart(left.pixels, right.pixels), plane.gain);
}
