// The noisy and the clean latents of the step on show, small and side by side.

import { symbol } from "../lib/controls";
import { aria, h } from "../lib/dom";
import { clean, paintGrid, preview, wipe } from "../lib/latents";
import type { Show } from "../lib/show";
import { allImages, guidanceOf, type Panel, type What } from "../lib/view";
import { stepWords } from "./transport";

export function pair(view: Show): Panel {
  const [noisy, clear] = [small("noisy"), small("clean")];
  const element = h(
    "div",
    "sdw-pair",
    figure(noisy, "noisy ", symbol("x", "t")),
    figure(clear, "clean so far ", symbol("x", "0")),
  );
  const update = (what: What) => {
    if (what === "hover") return;
    const { reel, selection } = view;
    const frame = reel.at(selection.step);
    const images = allImages(view);
    const draw = (canvas: HTMLCanvasElement, latents: Float32Array | undefined, words: string) => {
      aria(canvas, "label", frame ? `${words}, ${stepWords(frame, reel.header)}` : words);
      if (!frame || !latents) return wipe(canvas);
      const factors = reel.header?.factors ?? [];
      const planes = images.map((image) => preview(latents, frame.size, image, factors));
      paintGrid(canvas, planes);
    };
    draw(noisy, frame?.x, "noisy latents");
    draw(clear, frame && clean(frame, guidanceOf(view)), "clean latents so far");
  };
  update("data");
  return { element, update };
}

function small(name: string) {
  return h("canvas", { class: `sdw-small sdw-${name}`, role: "img" });
}

function figure(canvas: HTMLCanvasElement, ...words: (Node | string)[]) {
  const frame = h("div", "sdw-frame", canvas);
  return h("figure", "sdw-figure", frame, h("figcaption", {}, ...words));
}
