// What the views of one model share: the steps so far and the selection.

import type { AnyModel, Initialize } from "@anywidget/types";
import { bytes } from "./bytes";
import { RUN_STATES } from "./contract";
import { type Header, readHeader } from "./header";
import { LOST } from "./kernel";
import { Player } from "./player";
import { type Frame, joined, nearest, type Packed, unpack } from "./reel";
import { numbered, one, oneForEach, Shared } from "./shared";
import { isActive, type Picture, type RunState, type Shape, type Show } from "./show";
import type { Reel, Selection } from "./view";

// The second part holds what only the panels need, if the kernel sends it separately.
const TRAITS = [...numbered("frame"), ...numbered("more")];
const SLOTS = TRAITS.length / 2;

/** The traits of the kernel's views of a reel, beside frame0 .. frame63 and more0 .. more63. */
export interface Model extends Selection {
  uid: string; // of the widget: its views share one store
  header: Record<string, unknown>; // {} before the first run
  pictures: Picture[]; // the final images of the batch
  current?: number; // the run of `pictures`, which may be older than the run on show
  shape?: number[]; // width and height of the images, also before they are there
  state: RunState;
  message: string;
  panels?: string[];
  coming?: number[]; // the indices of all steps, for frames that are read as they are looked at
}

const isState = one(...RUN_STATES);

/** The steps of the run on show, from the traits; each is read once. */
class Slots implements Reel {
  header: Header | undefined;
  frames: Frame[] = []; // the visible ones, in the order of the run
  version = 0;
  coming: readonly number[] | undefined;
  lacking = false; // the traits hold smaller frames, and the full ones are not here
  #whole = false; // the traits hold smaller frames, and the full ones are here
  #raw: unknown; // the value of the trait `header` read last
  #all: Frame[] = []; // including those that wait to be shown
  readonly #waiting = new Set<number>(); // indices of these
  readonly #seen: unknown[] = [];
  readonly #parts: (Packed | undefined)[] = [];
  readonly #slots: (Packed | undefined)[] = []; // both parts of each slot

  at(step: number) {
    return nearest(this.frames, step);
  }

  /** Reads the traits: whether they changed, whether the run is another, and the new steps. */
  read(get: (name: string) => unknown) {
    let [changed, another] = [false, false];
    const coming = get("coming");
    this.coming = Array.isArray(coming) ? coming : undefined;
    const raw = get("header");
    if (raw !== this.#raw) {
      this.#raw = raw;
      const next = readHeader(raw);
      // The traits may still hold frames of the run before. They count as read.
      another = next?.run !== this.header?.run;
      if (another) {
        this.#parts.length = this.#slots.length = 0;
        this.#waiting.clear();
        this.#whole = false;
      }
      this.header = next;
      // A page that received the steps live has more than the traits are about to hold.
      if (next?.saved && this.#parts.some(Boolean)) this.#whole = true;
      this.lacking = next?.saved === true && !this.#whole;
      changed = true;
    }
    TRAITS.forEach((name, i) => {
      const value = get(name);
      if (value === this.#seen[i]) return;
      this.#seen[i] = value;
      if (this.#whole && this.#parts[i]) return;
      this.#take(i, unpack(value));
      changed = true;
    });
    const known = new Set(another ? [] : this.#all.map(({ index }) => index));
    if (changed) this.#line();
    return { changed, another, fresh: this.#all.filter(({ index }) => !known.has(index)) };
  }

  /** Takes the requested full frames; returns whether they belong to this run. */
  receive(run: unknown, names: unknown, buffers: readonly unknown[]): boolean {
    if (run !== this.header?.run || !Array.isArray(names) || !this.lacking) return false;
    names.forEach((name, i) => {
      const frame = unpack(buffers[i]);
      if (frame && TRAITS.includes(name)) this.#take(TRAITS.indexOf(name), frame);
    });
    this.#whole = true;
    this.lacking = false;
    this.#line();
    return true;
  }

  /** Hides these steps for now. */
  hold(frames: readonly Frame[]) {
    for (const { index } of frames) this.#waiting.add(index);
    this.#line();
  }

  /** Shows a hidden step. */
  reveal({ index }: Frame) {
    this.#waiting.delete(index);
    this.#line();
  }

  #take(i: number, frame: Packed | undefined) {
    this.#parts[i] = frame;
    const slot = i % SLOTS;
    const base = this.#parts[slot];
    this.#slots[slot] = base && joined(base, this.#parts[slot + SLOTS]);
  }

  #line() {
    this.version++;
    const there = this.#slots.filter((frame) => frame !== undefined);
    there.sort((a, b) => a.index - b.index);
    this.#all = there.filter((frame, i) => frame.index !== there[i - 1]?.index);
    this.frames = this.#all.filter(({ index }) => !this.#waiting.has(index));
  }
}

/** Everything about a run except its steps. */
interface Said {
  state: RunState;
  message: string;
  pictures: readonly Picture[];
  own: boolean;
  shape: Shape | undefined;
}

/** The data and the selection of one model, for all its views. */
export class Store extends Shared implements Show {
  readonly reel = new Slots();
  state: RunState = "idle";
  message = "";
  pictures: readonly Picture[] = [];
  own = false;
  shape: Shape | undefined;
  #lost = false;
  #latest: Said = this;
  #files: { id: unknown; pictures: Picture[] } | undefined; // full files, of which the traits hold smaller copies
  #begun = false;
  readonly #player = new Player();

  constructor(model: AnyModel) {
    super(model);
    this.follow();
    this.#begun = true;
  }

  /** A run whose kernel is gone does not go on. */
  set lost(lost: boolean) {
    if (lost === this.#lost) return;
    this.#lost = lost;
    if (this.read()) this.tell("data");
  }

  override remove() {
    super.remove();
    this.#player.clear();
  }

  protected override read(): boolean {
    const { changed, another, fresh } = this.reel.read(this.get);
    const { lacking, header } = this.reel;
    if (lacking && header) this.ask(header.run);
    if (another) this.#player.clear();

    this.#latest = this.#said();
    // Steps that arrive together are shown one by one, and the end of the run after them.
    if (this.#begun && isActive(this.#latest)) {
      const later = this.#player.busy ? fresh : fresh.slice(1);
      if (later.length > 0) this.reel.hold(later);
      for (const frame of later) {
        this.#player.push(() => {
          this.reel.reveal(frame);
          this.tell("data");
        });
      }
    }
    if (same(this.#latest, this)) return changed;
    if (this.#player.busy && !isActive(this.#latest)) {
      this.#player.push(() => {
        Object.assign(this, this.#latest);
        this.tell("data");
      });
      return changed;
    }
    Object.assign(this, this.#latest);
    return true;
  }

  #said(): Said {
    const current = this.get("current");
    const value = this.get("pictures");
    const state = isState(this.get("state")) ?? "idle";
    const ended = this.#lost && isActive({ state });
    const whole = this.#files?.id === current ? this.#files?.pictures : undefined;
    return {
      state: ended ? "stopped" : state,
      message: ended ? LOST : String(this.get("message") ?? ""),
      pictures: whole ?? (Array.isArray(value) ? (value as Picture[]) : []),
      own: typeof current !== "number" || current === this.reel.header?.run,
      shape: shapeIn(this.get("shape")),
    };
  }

  protected override receive(message: Record<string, unknown>, buffers: readonly unknown[]) {
    const { kind, run, names, id, pictures } = message;
    if (kind === "frames") return this.reel.receive(run, names, buffers);
    if (kind !== "pictures" || !Array.isArray(pictures)) return false;
    const made = pictures.map((words, i) => ({ ...words, data: bytes(buffers[i]) }) as Picture);
    this.#files = { id, pictures: made }; // perhaps before their traits: messages may overtake them
    return this.read();
  }
}

function shapeIn(value: unknown): Shape | undefined {
  const [width, height] = Array.isArray(value) ? (value as unknown[]) : [];
  return Number(width) > 0 && Number(height) > 0 ? [Number(width), Number(height)] : undefined;
}

function same(some: Said, other: Said) {
  return (
    some.state === other.state &&
    some.message === other.message &&
    some.own === other.own &&
    some.shape?.join() === other.shape?.join() &&
    some.pictures.length === other.pictures.length &&
    some.pictures.every((picture, i) => picture.data === other.pictures[i]?.data)
  );
}

export const stores = oneForEach((model: AnyModel<Model>) => new Store(model));

/** The `initialize` of every widget that shows a reel; returns the cleanup. */
export const initialize: Initialize<Model> = ({ model }) => {
  stores.of(model);
  return () => stores.forget(model);
};
