// The edges of the image, which are dragged outwards to add new area there.

import { PAINTER } from "../lib/contract";
import { aria, h, on } from "../lib/dom";
import { isShortcut } from "../lib/keys";
import { clamp } from "../lib/numbers";
import type { Box, Size } from "./plane";
import type { Model } from "./traits";

type Pad = Model["pad"];
const SIDES = ["left", "top", "right", "bottom"] as const;

interface Host {
  size(): Size; // of the image
  step(): number; // pixels of a latent cell
  scale(): number; // CSS pixels of a pixel
  allowed(): boolean;
  set(pad: Pad): void;
  changed(): void;
}

export interface Edges {
  readonly element: HTMLElement;
  /** As it is, or as it is being dragged. */
  readonly pad: Pad;
  /** The image with the new area around it. */
  readonly sheet: Box;
  readonly held: boolean;
  update(pad: Pad): void;
}

export function edges(host: Host): Edges {
  let pad: Pad = [0, 0, 0, 0];
  let seen: Pad | undefined; // the kernel's, as it was last
  let drag: { side: number; from: number; at: number } | undefined;

  const area = h("div", "sdw-pt-new");
  const handles = SIDES.map((name, side) => {
    const handle = h("div", {
      class: "sdw-pt-edge",
      role: "slider",
      tabindex: 0,
      "aria-label": `New area, ${name}`,
      "aria-orientation": side % 2 ? "vertical" : "horizontal",
      "aria-valuemin": 0,
      "aria-valuemax": PAINTER.pad,
      title: "Drag outwards to add new area on this side",
    });
    handle.dataset.side = name;
    return handle;
  });
  const element = h("div", "sdw-pt-edges", area, ...handles);

  /** Sets a side, in whole cells. */
  function set(side: number, pixels: number) {
    const step = host.step();
    const next: Pad = [...pad];
    next[side] = clamp(Math.round(pixels / step) * step, 0, PAINTER.pad - (PAINTER.pad % step));
    pad = next;
    host.changed();
  }

  handles.forEach((handle, side) => {
    const along = (event: PointerEvent) => (side % 2 ? event.clientY : event.clientX);
    on(handle, "pointerdown", (event) => {
      if (event.button !== 0 || !host.allowed()) return;
      event.preventDefault();
      event.stopPropagation();
      handle.focus({ preventScroll: true });
      handle.setPointerCapture(event.pointerId);
      drag = { side, from: pad[side] as number, at: along(event) };
    });
    on(handle, "pointermove", (event) => {
      if (drag?.side !== side) return;
      const outwards = (along(event) - drag.at) * (side < 2 ? -1 : 1);
      set(side, drag.from + outwards / host.scale());
    });
    const lift = () => {
      if (drag?.side !== side) return;
      drag = undefined;
      host.set(pad);
      host.changed();
    };
    on(handle, "pointerup", lift);
    on(handle, "pointercancel", lift);
    on(handle, "keydown", (event) => {
      if (isShortcut(event) || !host.allowed()) return;
      const step = host.step();
      const out = ["ArrowLeft", "ArrowUp", "ArrowRight", "ArrowDown"][side];
      const back = ["ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp"][side];
      const now = pad[side] as number;
      const next =
        event.key === out
          ? now + step
          : event.key === back
            ? now - step
            : { Home: 0, PageUp: now + 8 * step, PageDown: now - 8 * step }[event.key];
      if (next === undefined) return;
      event.preventDefault();
      event.stopPropagation();
      set(side, next);
      host.set(pad);
    });
  });

  function lay() {
    const { width, height } = host.size();
    const [left, top, right, bottom] = pad;
    const percent = (value: number, of: number) => `${(100 * value) / Math.max(of, 1)}%`;
    const { style } = element;
    style.left = percent(-left, width);
    style.top = percent(-top, height);
    style.width = percent(width + left + right, width);
    style.height = percent(height + top + bottom, height);
    // what of it is the image is left out
    const [wide, high] = [width + left + right, height + top + bottom];
    const [x0, y0] = [percent(left, wide), percent(top, high)];
    const [x1, y1] = [percent(left + width, wide), percent(top + height, high)];
    area.style.clipPath = `polygon(evenodd, 0 0, 100% 0, 100% 100%, 0 100%, 0 0, ${x0} ${y0}, ${x1} ${y0}, ${x1} ${y1}, ${x0} ${y1}, ${x0} ${y0})`;
    area.hidden = !pad.some((side) => side > 0);
    handles.forEach((handle, side) => {
      aria(handle, "valuenow", pad[side] as number);
      aria(handle, "valuetext", `${pad[side]} pixels`);
    });
  }

  return {
    element,
    get pad() {
      return pad;
    },
    get sheet() {
      const { width, height } = host.size();
      const [left, top, right, bottom] = pad;
      return { x: -left, y: -top, width: width + left + right, height: height + top + bottom };
    },
    get held() {
      return drag !== undefined;
    },
    update(kernels) {
      if (kernels !== seen && !drag) {
        seen = kernels;
        pad = kernels;
      }
      lay();
    },
  };
}
