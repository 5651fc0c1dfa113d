// The boxes on their image: drawn, chosen, moved and resized by pointer, pen, finger or keys.

import { aria, h, on, vary, write } from "../lib/dom";
import { isShortcut } from "../lib/keys";
import { css, inkOn, type RGB } from "../lib/palette";
import {
  between,
  type Corners,
  clicked,
  type Handle,
  inside,
  isWhole,
  moved,
  type Place,
  resized,
} from "./geometry";
import type { Layout } from "./layout";

const STILL = 4; // CSS pixels that a click may move
const STEP = 0.02; // of the image, by an arrow key

const HANDLES: readonly Handle[] = [-1, 0, 1]
  .flatMap((down) => [-1, 0, 1].map((across) => [across, down] as unknown as Handle))
  .filter(([across, down]) => across !== 0 || down !== 0);

interface Host {
  layout: Layout;
  allowed(): boolean;
  full(): boolean; // whether there can be no more boxes
  colour(name: string): RGB;
  chosen(): number; // the index of a box; -1: none
  choose(index: number): void;
  name(): string; // of the next box
  key(event: KeyboardEvent): boolean; // whether it was a command
  say(words: string): void;
}

export interface Board {
  readonly element: HTMLElement;
  picture(url: string): void;
  update(): void;
}

type Drag =
  | { kind: "draw"; from: Place; index: number }
  | { kind: "move"; from: Place; corners: Corners; index: number }
  | { kind: "size"; from: Place; corners: Corners; index: number; handle: Handle };

export function board(host: Host): Board {
  const { layout } = host;
  const image = h("img", { class: "sdw-bx-image", alt: "", draggable: false });
  const sheet = h("div", "sdw-bx-sheet");
  const handles = HANDLES.map(([across, down]) => {
    const handle = h("div", "sdw-bx-handle");
    handle.dataset.across = String(across);
    handle.dataset.down = String(down);
    return handle;
  });
  const frame = h("div", "sdw-bx-frame", ...handles); // around the chosen box, above all others
  const element = h(
    "div",
    { class: "sdw-bx-board", tabindex: 0, role: "application" },
    image,
    sheet,
    frame,
  );
  let pressed: { event: PointerEvent; from: Place; moves: boolean } | undefined; // not moved yet
  let drag: Drag | undefined;

  const placeOf = ({ clientX, clientY }: MouseEvent): Place => {
    const { left, top, width, height } = element.getBoundingClientRect();
    return {
      x: (clientX - left - element.clientLeft) / Math.max(width - 2 * element.clientLeft, 1),
      y: (clientY - top - element.clientTop) / Math.max(height - 2 * element.clientTop, 1),
    };
  };
  const cornersOf = (index: number) => layout.boxes[index]?.[1];
  /** The boxes with these corners at an index, which may be one past the last. */
  const withBox = (index: number, corners: Corners) => {
    const boxes = [...layout.boxes];
    boxes[index] = [boxes[index]?.[0] ?? host.name(), corners];
    return boxes;
  };

  // ---------------------------------------------------------------------------------- pointers

  function begin(event: PointerEvent, from: Place, moves: boolean) {
    const index = host.chosen();
    const corners = cornersOf(index);
    const handle = (event.target as HTMLElement).closest<HTMLElement>(".sdw-bx-handle");
    if (handle && corners) {
      const sides = [Number(handle.dataset.across), Number(handle.dataset.down)] as never;
      drag = { kind: "size", from, corners, index, handle: sides };
    } else if (moves && corners) drag = { kind: "move", from, corners, index };
    else if (host.full()) host.say("There can be no more boxes.");
    else {
      drag = { kind: "draw", from, index: layout.boxes.length };
    }
  }
  function go(to: Place) {
    if (!drag) return;
    const [dx, dy] = [to.x - drag.from.x, to.y - drag.from.y];
    const corners =
      drag.kind === "draw"
        ? between(drag.from, to)
        : drag.kind === "move"
          ? moved(drag.corners, dx, dy)
          : resized(drag.corners, drag.handle, dx, dy);
    layout.drag(withBox(drag.index, corners));
    host.choose(drag.index);
  }

  on(element, "pointerdown", (event) => {
    if (event.button !== 0 || !host.allowed() || pressed || drag) return;
    element.focus({ preventScroll: true });
    event.preventDefault();
    element.setPointerCapture(event.pointerId);
    const from = placeOf(event);
    const target = event.target as HTMLElement;
    const tag = target.closest<HTMLElement>(".sdw-bx-tag");
    if (tag) host.choose(Number(tag.dataset.index));
    const corners = cornersOf(host.chosen());
    const moves = corners !== undefined && !event.shiftKey && !isWhole(corners);
    pressed = { event, from, moves: moves && (tag !== null || inside(corners, from)) };
    if (target.closest(".sdw-bx-handle")) begin(event, from, false);
  });
  on(element, "pointermove", (event) => {
    if (pressed?.event.pointerId !== event.pointerId) return;
    const { event: first, from, moves } = pressed;
    const far = Math.hypot(event.clientX - first.clientX, event.clientY - first.clientY) >= STILL;
    if (!drag && far) begin(first, from, moves);
    go(placeOf(event));
  });
  on(element, "pointerup", (event) => {
    if (pressed?.event.pointerId !== event.pointerId) return;
    const tag = (pressed.event.target as HTMLElement).closest(".sdw-bx-tag");
    const { from } = pressed;
    pressed = undefined;
    if (drag) {
      go(placeOf(event));
      drag = undefined;
      layout.set(layout.boxes);
      const box = layout.boxes[host.chosen()];
      if (box) host.say(`${box[0]}, ${words(box[1])}`);
    } else if (!tag) host.choose(clicked(layout.boxes, from, host.chosen()));
  });
  const cancel = () => {
    pressed = undefined;
    if (!drag) return false;
    const { kind } = drag;
    drag = undefined;
    layout.cancel();
    if (kind === "draw") host.choose(-1);
    return true;
  };
  on(element, "pointercancel", cancel);
  on(element, "auxclick", (event) => event.preventDefault()); // a middle button pastes, in places

  // -------------------------------------------------------------------------------------- keys

  on(element, "keydown", (event) => {
    if (event.target !== element || isShortcut(event) || !host.allowed()) return;
    const { key, shiftKey } = event;
    const by = {
      ArrowLeft: [-STEP, 0],
      ArrowRight: [STEP, 0],
      ArrowUp: [0, -STEP],
      ArrowDown: [0, STEP],
    }[key] as [number, number] | undefined;
    const index = host.chosen();
    const corners = cornersOf(index);
    if (by && corners) {
      const next = shiftKey ? resized(corners, [1, 1], ...by) : moved(corners, ...by);
      layout.set(withBox(index, next));
      host.say(words(next));
    } else if (key === "PageDown" || key === "PageUp") {
      const count = layout.boxes.length;
      if (count > 0) host.choose((index + (key === "PageUp" ? count - 1 : 1)) % count);
    } else if (key === "Escape") {
      if (!cancel()) host.choose(-1);
    } else if (!by && !host.key(event)) return;
    event.preventDefault();
  });

  // ------------------------------------------------------------------------------------ update

  function lay(one: HTMLElement, [x0, y0, x1, y1]: Corners) {
    const { style } = one;
    style.left = `${100 * x0}%`;
    style.top = `${100 * y0}%`;
    style.width = `${100 * (x1 - x0)}%`;
    style.height = `${100 * (y1 - y0)}%`;
  }
  function update() {
    const { boxes } = layout;
    while (sheet.children.length > boxes.length) sheet.lastElementChild?.remove();
    while (sheet.children.length < boxes.length) {
      sheet.append(h("div", "sdw-bx-box", h("span", { class: "sdw-bx-tag", dir: "auto" })));
    }
    boxes.forEach(([name, corners], i) => {
      const one = sheet.children[i] as HTMLElement;
      const tag = one.firstElementChild as HTMLElement;
      const colour = host.colour(name);
      lay(one, corners);
      vary(one, "colour", css(colour));
      vary(one, "ink", inkOn(colour));
      one.toggleAttribute("data-chosen", i === host.chosen());
      tag.dataset.index = String(i);
      write(tag, name);
    });
    const corners = cornersOf(host.chosen());
    frame.hidden = corners === undefined || !host.allowed();
    if (corners) {
      lay(frame, corners);
      frame.toggleAttribute("data-whole", isWhole(corners));
    }
    aria(element, "disabled", !host.allowed());
  }
  return {
    element,
    picture(url) {
      image.hidden = !url;
      if (url) image.src = url;
      else image.removeAttribute("src");
    },
    update,
  };
}

/** The corners, to be read out. */
export const words = ([x0, y0, x1, y1]: Corners) => `from ${x0}, ${y0} to ${x1}, ${y1}`;
