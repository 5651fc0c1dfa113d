// A map of latent cells. A cell is pointed at by pointer or keys; all maps mark it.

import { bytes } from "../lib/bytes";
import { h } from "../lib/dom";
import { paint } from "../lib/latents";
import { cellAfter, cellAt } from "./channel";
import { heatPixels } from "./comparison";
import { placed } from "./spot";
import type { LabView } from "./view";

export interface Cells {
  readonly element: HTMLElement;
  readonly canvas: HTMLCanvasElement;
  point(): void; // shows what is pointed at now
}

export function cells(view: LabView, name: string, stop: boolean): Cells {
  const canvas = h("canvas", { class: name, width: 1, height: 1 });
  const heat = h("canvas", { class: "sdw-lab-heat", width: 1, height: 1, hidden: true });
  const mark = h("div", { class: "sdw-lab-spot", hidden: true });
  const role = stop ? "application" : "img"; // with keys of its own
  const attributes = { class: "sdw-lab-grid", tabindex: stop ? 0 : -1, role };
  const element = h("div", attributes, canvas, heat, mark);
  const sides = () => view.data.latents ?? { width: 1, height: 1 };

  element.addEventListener("pointermove", (event) => {
    const { width, height } = sides();
    view.point({ cell: cellAt(event, element, width, height), pixel: undefined });
  });
  for (const name of ["pointerleave", "blur"]) {
    element.addEventListener(name, () => view.point({ cell: undefined }));
  }
  element.addEventListener("keydown", (event) => {
    const { width, height } = sides();
    const cell = cellAfter(event.key, view.here.cell, width, height);
    if (cell === undefined) return;
    event.preventDefault();
    view.point({ cell, pixel: undefined });
  });

  return {
    element,
    canvas,
    point() {
      const { width, height } = sides();
      const cell = pointed(view);
      const inside = cell !== undefined && cell.x < width && cell.y < height;
      mark.hidden = !inside;
      if (inside) placed(mark, cell, { width, height });
      const pixels = reached(view);
      heat.hidden = pixels === undefined;
      if (pixels !== undefined) paint(heat, { pixels, w: width, h: height });
    },
  };
}

/** The cell that is pointed at, itself or by a pixel in it. */
function pointed({ here: { cell, pixel }, data, selection }: LabView) {
  const factor = data.catalogue.find(({ name }) => name === selection.active)?.factor;
  if (cell !== undefined || pixel === undefined || factor === undefined) return cell;
  return { x: Math.floor(pixel.x / factor), y: Math.floor(pixel.y / factor) };
}

/** How much each cell changes with the pixel that is pointed at, as a heat map. */
function reached({ here: { pixel }, data: { touch, latents } }: LabView) {
  const fits =
    pixel !== undefined &&
    touch?.of === "pixel" &&
    touch.x === pixel.x &&
    touch.y === pixel.y &&
    touch.width === latents?.width &&
    touch.height === latents.height;
  return fits ? heatPixels(bytes(touch.data)) : undefined;
}
