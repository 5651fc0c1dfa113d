// An image with what is painted on it, by pointer, pen, finger or keys; zoomed and moved.

import { aria, h, on, svg } from "../lib/dom";
import { isShortcut } from "../lib/keys";
import { clamp } from "../lib/numbers";
import type { Paint } from "./paint";
import { fitting, moved, type Place, showing, zoomed } from "./place";
import type { Box, Point, Size } from "./plane";
import type { Sketch } from "./sketch";
import { Stroke } from "./stroke";
import { tint } from "./tint";
import { hasBrush, isErasing, type Tools } from "./tools";

const WHEEL = 0.002; // of a zoom by wheel, for each of its pixels
const ERASER = 32; // the button at the other end of a pen

export interface Board {
  readonly element: HTMLElement;
  readonly stage: HTMLElement; // the image's own pixels, in which others can lay things
  readonly place: Place;
  /** Shows the image at this address. */
  picture(url: string): void;
  /** The value under the cursor of the keys, or else under the pointer. */
  readonly value: number | undefined;
  /** Brings all up to date; with a box, what is painted in it. */
  update(box?: Box): void;
  fit(): void;
  zoom(by: number): void;
  remove(): void;
}

interface Host {
  sketch: Sketch;
  tools: Tools;
  sheet(): Box; // the image with the new area around it
  held(): boolean; // whether an edge is being dragged: nothing may move below it
  allowed(): boolean;
  pen(): void; // one is used, for the first time
  say(words: string): void;
  readonly layers: readonly HTMLElement[]; // what lies on the image, below the marks
  moved(): void; // the place has changed
  key(event: KeyboardEvent): boolean; // whether it was a command
  step(): number; // pixels that an arrow key moves the cursor
  paint(erase: boolean): Paint; // what the tools leave now
  shades(): Uint32Array; // the pixel for each value
  name(value: number): string; // of a pixel, for people
  pick?(value: number): void; // what is there, to paint with: Alt and a click
  over?(value: number | undefined): void; // the pointer is over a pixel of this value, or none
}

export function board(host: Host): Board {
  const { sketch, tools } = host;
  const image = h("img", { class: "sdw-pt-image", alt: "", draggable: false });
  const mask = tint(() => sketch.plane, host.shades);
  const ring = [svg("circle", { class: "sdw-pt-ring" }), svg("circle", { class: "sdw-pt-ring" })];
  const cross = [svg("path", { class: "sdw-pt-cross" }), svg("path", { class: "sdw-pt-cross" })];
  const path = [
    svg("polyline", { class: "sdw-pt-path" }),
    svg("polyline", { class: "sdw-pt-path" }),
  ];
  const marks = svg("svg", { class: "sdw-pt-marks", preserveAspectRatio: "none" });
  marks.append(...ring, ...cross, ...path);
  aria(marks, "hidden", true);
  const stage = h("div", "sdw-pt-stage", image, mask.element, ...host.layers, marks);
  const element = h("div", { class: "sdw-pt-board", tabindex: 0, role: "application" }, stage);

  let place: Place = { scale: 1, x: 0, y: 0 };
  let fits = true; // whether the place follows the frame
  let stroke: Stroke | undefined;
  let pen = false; // whether a pen has been used: fingers only move the image then
  let hover: Point | undefined; // the pointer
  let cursor: Point | undefined; // that of the keys
  let held = false; // whether Space is down
  const touches = new Map<number, PointerEvent>();
  let gesture = false; // whether two fingers move the image, until all are lifted
  let dragging: PointerEvent | undefined; // the image itself

  // ---------------------------------------------------------------------------------- places

  const frame = (): Size => ({ width: element.clientWidth, height: element.clientHeight });
  /** The place in the image of an event, wherever the page has moved or scaled it by now. */
  function pointOf({ clientX, clientY }: MouseEvent): Point {
    const { left, top, width, height } = stage.getBoundingClientRect();
    const { plane } = sketch;
    return {
      x: ((clientX - left) / width) * plane.width,
      y: ((clientY - top) / height) * plane.height,
    };
  }
  function within({ clientX, clientY }: { clientX: number; clientY: number }): Point {
    const { left, top } = element.getBoundingClientRect();
    return { x: clientX - left - element.clientLeft, y: clientY - top - element.clientTop };
  }
  function lay(next: Place) {
    place = next;
    const { width, height } = sketch.plane;
    const { style } = stage;
    style.left = `${place.x}px`;
    style.top = `${place.y}px`;
    style.width = `${width * place.scale}px`;
    style.height = `${height * place.scale}px`;
    stage.toggleAttribute("data-coarse", place.scale >= 3);
    host.moved();
    mark();
  }
  function fit() {
    fits = true;
    refit();
  }
  function refit() {
    if (sketch.plane.width > 0 && !host.held()) lay(fitting(host.sheet(), frame()));
  }
  function zoom(by: number, at?: Point) {
    const { width, height } = frame();
    fits = false;
    lay(zoomed(place, by, at ?? { x: width / 2, y: height / 2 }, host.sheet(), frame()));
  }
  function move(dx: number, dy: number) {
    fits = false;
    lay(moved(place, dx, dy, host.sheet(), frame()));
  }
  const sizes = new ResizeObserver(() => {
    if (fits) refit();
    else lay(moved(place, 0, 0, host.sheet(), frame()));
  });
  sizes.observe(element);

  // ----------------------------------------------------------------------------------- marks

  function valueAt(point: Point | undefined): number | undefined {
    const { width, height, data } = sketch.plane;
    const [x, y] = [Math.floor(point?.x ?? -1), Math.floor(point?.y ?? -1)];
    return x >= 0 && y >= 0 && x < width && y < height ? data[y * width + x] : undefined;
  }
  function mark() {
    const { width, height } = sketch.plane;
    marks.setAttribute("viewBox", `0 0 ${Math.max(width, 1)} ${Math.max(height, 1)}`);
    const at = cursor ?? hover;
    const round = at && hasBrush(tools) && host.allowed();
    for (const circle of ring) {
      circle.toggleAttribute("hidden", !round);
      circle.setAttribute("cx", String(at?.x ?? 0));
      circle.setAttribute("cy", String(at?.y ?? 0));
      circle.setAttribute("r", String(tools.size / 2));
    }
    const arm = 9 / place.scale;
    const { x, y } = cursor ?? { x: 0, y: 0 };
    const d = `M${x - arm} ${y}H${x + arm}M${x} ${y - arm}V${y + arm}`;
    for (const line of cross) {
      line.toggleAttribute("hidden", cursor === undefined);
      line.setAttribute("d", d);
    }
    const drawn = stroke?.tool === "lasso" ? [...stroke.points] : [];
    if (drawn.length > 0 && cursor) drawn.push(cursor);
    const points = drawn.map((point) => `${point.x},${point.y}`).join(" ");
    for (const line of path) line.setAttribute("points", points);
    element.dataset.tool = tools.tool;
    host.over?.(valueAt(at));
  }

  // --------------------------------------------------------------------------------- strokes

  function begin(point: Point, erase: boolean, pressure: number) {
    if (!host.allowed() || !sketch.begin()) return;
    stroke = new Stroke(sketch, tools, host.paint(erase));
    stroke.to(point, pressure);
  }
  function end() {
    stroke?.lift();
    stroke = undefined;
    mark();
  }
  function cancel() {
    if (stroke) sketch.cancel();
    stroke = undefined;
    mark();
  }

  const pressureOf = (event: PointerEvent) =>
    event.pointerType === "pen" && tools.pressure ? event.pressure : 1;

  on(element, "pointerdown", (event) => {
    if (event.target !== element && !stage.contains(event.target as Node)) return;
    if ((event.target as Element).closest("[role=slider]")) return;
    element.focus({ preventScroll: true });
    cursor = undefined;
    held = false;
    const { pointerType, button, buttons, pointerId } = event;
    if (pointerType === "pen" && !pen) {
      pen = true;
      host.pen();
    }
    if (pointerType === "touch") {
      touches.set(pointerId, event);
      if (touches.size > 1) {
        cancel(); // the first finger had begun to paint
        gesture = true;
      }
    }
    event.preventDefault();
    const there = event.altKey && host.pick ? valueAt(pointOf(event)) : undefined;
    if (there !== undefined) return host.pick?.(there);
    element.setPointerCapture(pointerId);
    if (gesture || stroke || dragging) return;
    if (button === 1 || tools.tool === "hand" || (pointerType === "touch" && pen)) {
      dragging = event;
      element.toggleAttribute("data-dragging", true);
    } else if (button === 0 || buttons & ERASER) {
      const erase = Boolean(buttons & ERASER) || isErasing(tools);
      begin(pointOf(event), erase, pressureOf(event));
    }
    hover = pointOf(event);
    mark();
  });
  on(element, "pointermove", (event) => {
    hover = event.pointerType === "touch" ? undefined : pointOf(event);
    if (gesture) pinch(event);
    else if (dragging?.pointerId === event.pointerId) {
      move(event.clientX - dragging.clientX, event.clientY - dragging.clientY);
      dragging = event;
    } else if (stroke && element.hasPointerCapture(event.pointerId)) {
      const between = event.getCoalescedEvents?.() ?? [];
      for (const one of between.length > 0 ? between : [event]) {
        stroke.to(pointOf(one), pressureOf(one));
      }
    }
    mark();
  });
  const lifted = (event: PointerEvent) => {
    touches.delete(event.pointerId);
    if (dragging?.pointerId === event.pointerId) {
      dragging = undefined;
      element.removeAttribute("data-dragging");
    }
    if (gesture) gesture = touches.size > 0;
    else if (event.type === "pointercancel") cancel();
    else end();
  };
  on(element, "pointerup", lifted);
  on(element, "pointercancel", lifted);
  on(element, "pointerleave", () => {
    hover = undefined;
    mark();
  });
  on(element, "auxclick", (event) => event.preventDefault()); // a middle button pastes, in places

  /** Two fingers: the image follows both. */
  function pinch(event: PointerEvent) {
    const before = [...touches.values()];
    touches.set(event.pointerId, event);
    const now = [...touches.values()];
    const [a, b, c, d] = [before[0], before[1], now[0], now[1]];
    if (!a || !b || !c || !d) return;
    const middle = (one: PointerEvent, other: PointerEvent) =>
      within({
        clientX: (one.clientX + other.clientX) / 2,
        clientY: (one.clientY + other.clientY) / 2,
      });
    const apart = (one: PointerEvent, other: PointerEvent) =>
      Math.max(Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY), 1);
    const [from, to] = [middle(a, b), middle(c, d)];
    move(to.x - from.x, to.y - from.y);
    zoom(apart(c, d) / apart(a, b), to);
  }

  on(
    element,
    "wheel",
    (event) => {
      if (event.ctrlKey || event.metaKey) {
        event.preventDefault();
        event.stopPropagation();
        const pixels = event.deltaY * (event.deltaMode === 1 ? 30 : 1);
        return zoom(Math.exp(-pixels * WHEEL), within(event));
      }
      if (fits) return; // the notebook scrolls
      const { x, y } = place;
      const [dx, dy] = event.shiftKey ? [event.deltaY, 0] : [event.deltaX, event.deltaY];
      move(-dx, -dy);
      if (place.x !== x || place.y !== y) {
        event.preventDefault();
        event.stopPropagation();
      }
    },
    { passive: false },
  );

  // ------------------------------------------------------------------------------------ keys

  const sayCursor = () => {
    if (!cursor) return;
    const [x, y] = [Math.floor(cursor.x), Math.floor(cursor.y)];
    host.say(`${x}, ${y}: ${host.name(valueAt(cursor) as number)}`);
  };
  function goTo(x: number, y: number) {
    const { width, height } = sketch.plane;
    cursor = {
      x: clamp(Math.floor(x), 0, width - 1) + 0.5,
      y: clamp(Math.floor(y), 0, height - 1) + 0.5,
    };
    if (held && stroke && stroke.tool !== "lasso") stroke.to(cursor);
    if (!fits) lay(showing(place, cursor, frame()));
    mark();
    sayCursor();
  }
  function space() {
    if (!cursor) return goTo(sketch.plane.width / 2, sketch.plane.height / 2);
    if (held) return;
    const { tool } = tools;
    if (tool === "lasso" || tool === "rectangle") {
      if (!stroke) {
        begin(cursor, isErasing(tools), 1);
        host.say(
          tool === "lasso"
            ? "Outline begun: Space adds a corner, Enter closes it"
            : "First corner: Space sets the other",
        );
      } else {
        stroke.to(cursor);
        if (tool === "rectangle") finish();
        else host.say(`${stroke.points.length} corners`);
      }
      return mark();
    }
    held = true;
    begin(cursor, isErasing(tools), 1);
    if (tool === "fill") end();
  }
  function finish() {
    end();
    sayCursor();
  }
  on(element, "keydown", (event) => {
    if (event.target !== element || isShortcut(event) || !host.allowed()) return;
    const { key, shiftKey } = event;
    const by = shiftKey ? 1 : host.step();
    const { width, height } = sketch.plane;
    const { x, y } = cursor ?? { x: width / 2, y: height / 2 };
    const to = {
      ArrowLeft: [x - by, y],
      ArrowRight: [x + by, y],
      ArrowUp: [x, y - by],
      ArrowDown: [x, y + by],
      Home: [0, y],
      End: [width, y],
      PageUp: [x, 0],
      PageDown: [x, height],
    }[key];
    if (to) goTo(to[0] as number, to[1] as number);
    else if (key === " ") space();
    else if (key === "Enter" && stroke && !held) finish();
    else if (key === "Escape" && stroke) {
      cancel();
      host.say("Nothing painted");
    } else if (!host.key(event)) return;
    event.preventDefault();
  });
  on(element, "keyup", ({ key }) => {
    if (key !== " " || !held) return;
    held = false;
    if (stroke) finish();
  });
  on(element, "blur", () => {
    held = false;
    if (stroke && cursor) end();
    cursor = undefined;
    mark();
  });

  return {
    element,
    stage,
    get place() {
      return place;
    },
    get value() {
      return valueAt(cursor ?? hover);
    },
    picture(url) {
      if (url) image.src = url;
      else image.removeAttribute("src");
    },
    update(box) {
      mask.show(box);
      if (fits) refit();
      mark();
    },
    fit,
    zoom: (by) => zoom(by),
    remove() {
      cancel();
      sizes.disconnect();
      mask.remove();
    },
  };
}
