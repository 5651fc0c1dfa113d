// The mask over the image, as a tint.

import { h } from "../lib/dom";
import { type Box, type Plane, union, whole } from "./plane";

const COLOUR = [230, 0, 122] as const;
const OPACITY = 0.6;

/** The pixel for each level, its bytes in the order that a canvas has them. */
export const SHADES = (() => {
  const bytes = new Uint8Array(256 * 4);
  for (let level = 0; level < 256; level++) {
    bytes.set([...COLOUR, Math.round(level * OPACITY)], level * 4);
  }
  return new Uint32Array(bytes.buffer);
})();

/** A canvas that has a plane's pixels, in the shade of each value; `show` draws a box of it with the
 * next frame of the page. */
export function tint(read: () => Plane, shades: () => Uint32Array) {
  const canvas = h("canvas", { class: "sdw-pt-tint", width: 1, height: 1 });
  const context = canvas.getContext("2d");
  let waiting: Box | undefined;
  let asked = 0;
  const draw = () => {
    asked = 0;
    const box = waiting;
    waiting = undefined;
    const { width, data } = read();
    const shade = shades();
    if (!box || !context) return;
    const image = context.createImageData(box.width, box.height);
    const pixels = new Uint32Array(image.data.buffer);
    for (let y = 0, i = 0; y < box.height; y++) {
      let from = (box.y + y) * width + box.x;
      for (let x = 0; x < box.width; x++) pixels[i++] = shade[data[from++] as number] as number;
    }
    context.putImageData(image, box.x, box.y);
  };
  return {
    element: canvas,
    show(box: Box | undefined) {
      const plane = read();
      if (plane.width === 0) return;
      if (canvas.width !== plane.width || canvas.height !== plane.height) {
        canvas.width = plane.width;
        canvas.height = plane.height;
        waiting = whole(plane);
      } else waiting = union(waiting, box);
      asked ||= requestAnimationFrame(draw);
    },
    remove: () => cancelAnimationFrame(asked),
  };
}
