// The mask as the network sees it, on the image: a block for each latent cell.

import { aria, h, on, vary, write } from "../lib/dom";
import { type Cells, cells, type Run } from "./cells";
import type { Plane } from "./plane";
import { SHADES } from "./tint";

/** A canvas over the image, the button that shows it, and what it says. */
export function grid(read: () => { mask: Plane; run: Run }) {
  const canvas = h("canvas", { width: 1, height: 1 });
  const element = h("div", { class: "sdw-pt-cells", hidden: true }, canvas);
  const words = h("p", "sdw-pt-note");
  const toggle = h(
    "button",
    {
      class: "sdw-button",
      "aria-pressed": "false",
      title: "Show the mask as the network sees it: the latent cells that a run paints over (C)",
    },
    "Latent cells",
  );
  let asked = 0;
  on(toggle, "click", () => {
    element.hidden = !element.hidden;
    aria(toggle, "pressed", !element.hidden);
    update();
  });

  function draw() {
    asked = 0;
    const { mask, run } = read();
    if (element.hidden || mask.width === 0) return;
    const made = cells(mask, run);
    paint(canvas, made);
    const { area } = made;
    const percent = (value: number, of: number) => `${(100 * value) / of}%`;
    element.style.left = percent(area.x, mask.width);
    element.style.top = percent(area.y, mask.height);
    element.style.width = percent(area.width, mask.width);
    element.style.height = percent(area.height, mask.height);
    vary(element, "columns", made.width);
    vary(element, "rows", made.height);
    const free = made.data.reduce((sum, level) => sum + Number(level > 0), 0);
    write(words, `The network paints over ${free} of ${made.width} x ${made.height} cells.`);
  }
  function update() {
    words.hidden = element.hidden;
    element.closest(".sdw-pt-stage")?.toggleAttribute("data-cells", !element.hidden);
    if (!element.hidden) asked ||= requestAnimationFrame(draw);
  }
  update();
  return { element, toggle, words, update, remove: () => cancelAnimationFrame(asked) };
}

function paint(canvas: HTMLCanvasElement, { width, height, data }: Cells) {
  canvas.width = Math.max(width, 1);
  canvas.height = Math.max(height, 1);
  const context = canvas.getContext("2d");
  if (!context || data.length === 0) return;
  const image = context.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  data.forEach((level, i) => {
    pixels[i] = SHADES[level] as number;
  });
  context.putImageData(image, 0, 0);
}
