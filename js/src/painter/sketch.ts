// What is painted, in this page: all views of a widget share it. What is painted is seen at once,
// and goes to the kernel change by change. The kernel has the last word.

import type { AnyModel } from "@anywidget/types";
import { bytes } from "../lib/bytes";
import { quietly } from "../lib/choices";
import { type ASKS, PAINTER } from "../lib/contract";
import { History } from "./history";
import { packed, unpacked } from "./packed";
import { type Box, crop, difference, type Plane, plane, put, whole } from "./plane";
import type { Painted } from "./traits";
import { Turns } from "./turns";

export type Kind = (typeof ASKS)["painter" | "label_map"][number];
type Listener = (box: Box | undefined) => void; // undefined: something else has changed

export class Sketch {
  plane: Plane = plane(0, 0);
  /** Whether the mask is there, to be painted on. */
  ready = false;
  readonly #model: AnyModel<Painted>;
  readonly #kind: Kind;
  readonly #turns = new Turns();
  readonly #history = new History();
  readonly #listeners = new Set<Listener>();
  #shown: number | undefined; // the number of the image
  #painted: unknown; // the kernel's mask, as last seen
  #stale = true; // whether that may be another than this one
  #before: Uint8Array | undefined; // while something is being painted
  #sending: Promise<unknown> = Promise.resolve();

  /** `kind`: of the messages that say what was painted. */
  constructor(model: AnyModel<Painted>, kind: "mask" | "map" = "mask") {
    this.#model = model;
    this.#kind = kind;
    model.on("change", this.#read);
    this.#read();
  }

  remove() {
    this.#model.off("change", this.#read);
    this.#listeners.clear();
  }

  onChange(listener: Listener) {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  ask(kind: Kind, more: object = {}, data: ArrayBuffer[] = []) {
    quietly(() => this.#model.send({ kind, ...more }, undefined, data));
  }

  // ------------------------------------------------------------------------------- a change

  get busy() {
    return this.#before !== undefined;
  }

  /** Begins a change; false if the mask is not there yet, or another change is going on. */
  begin(): boolean {
    if (!this.ready || this.busy) return false;
    this.#before = this.plane.data.slice();
    return true;
  }

  /** The mask as it was when the change began. */
  get before(): Uint8Array {
    return this.#before ?? this.plane.data;
  }

  /** Shows what has changed so far. */
  touch(box: Box | undefined) {
    if (box) this.#tell(box);
  }

  /** Puts back what was there when the change began. */
  reset(box: Box | undefined) {
    if (box) put(this.plane, box, crop({ width: this.plane.width, data: this.before }, box));
  }

  /** Ends the change, and sends it. */
  end() {
    const before = this.#before;
    if (!before) return;
    this.#before = undefined;
    const box = difference(this.plane, before, this.plane.data);
    if (box) {
      this.#history.add(this.plane, box, before);
      this.#send(box);
    }
    this.#tell(undefined);
    void this.#adopt();
  }

  /** Ends the change as if it had never begun. */
  cancel() {
    const before = this.#before;
    if (!before) return;
    this.#before = undefined;
    const box = difference(this.plane, before, this.plane.data);
    this.plane.data.set(before);
    this.#tell(box);
    void this.#adopt();
  }

  /** A change all at once: `make` may change the mask. */
  change(make: (plane: Plane) => void) {
    if (!this.begin()) return;
    make(this.plane);
    this.#tell(whole(this.plane));
    this.end();
  }

  get undos() {
    return this.#history.undos || this.#model.get("undos");
  }
  get redos() {
    return this.#history.redos || this.#model.get("redos");
  }
  undo() {
    this.#travel("undo");
  }
  redo() {
    this.#travel("redo");
  }

  #travel(way: "undo" | "redo") {
    if (!this.ready || this.busy) return;
    const box = this.#history[way](this.plane);
    if (!box) return this.ask(way); // of changes that another page made, or this one before
    this.#send(box);
    this.#tell(box);
  }

  // -------------------------------------------------------------------------------- the kernel

  /** Sends the levels in a box, in bands of rows that are small enough for every server. */
  #send(box: Box) {
    const number = this.#turns.next();
    const rows = Math.max(Math.floor(PAINTER.band / box.width), 1);
    for (let top = 0; top < box.height; top += rows) {
      const height = Math.min(rows, box.height - top);
      const band = { x: box.x, y: box.y + top, width: box.width, height };
      const levels = crop(this.plane, band);
      const message = {
        page: this.#turns.page,
        number,
        image: this.#shown,
        box: [band.x, band.y, band.width, band.height],
        last: top + height === box.height,
      };
      this.#sending = this.#sending.then(async () =>
        this.ask(this.#kind, message, [(await packed(levels)).buffer]),
      );
    }
  }

  readonly #read = () => {
    const get = this.#model.get.bind(this.#model);
    if (get("shown") !== this.#shown) {
      this.#shown = get("shown");
      this.plane = plane(get("width"), get("height"));
      this.#history.clear();
      this.#before = undefined;
      this.#turns.settle();
      this.#stale = true;
      this.ready = false;
    }
    const painted = get("painted");
    const own = this.#turns.read(get("stamp"));
    if (painted !== this.#painted) {
      this.#painted = painted;
      if (!own) this.#stale = true;
    }
    this.#tell(undefined);
    void this.#adopt();
  };

  /** Takes the kernel's mask over this one, unless the kernel is to hear of this one first. */
  async #adopt() {
    const free = () => this.#stale && !this.busy && this.#turns.answered;
    if (!free()) return;
    const [packedLevels, shown] = [bytes(this.#painted), this.#painted];
    const { width, height } = this.plane;
    const levels =
      packedLevels.length > 0
        ? await unpacked(packedLevels).catch(() => new Uint8Array())
        : new Uint8Array(width * height);
    if (shown !== this.#painted || !free() || levels.length !== this.plane.data.length) return;
    this.#stale = false;
    const box = difference(this.plane, this.plane.data, levels);
    if (box) {
      this.plane.data.set(levels);
      this.#history.clear(); // the kernel knows what came before
    }
    this.ready = width > 0;
    this.#tell(box);
    if (box) this.#tell(undefined);
  }

  #tell(box: Box | undefined) {
    for (const listener of this.#listeners) listener(box);
  }
}
