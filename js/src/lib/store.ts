// All that the views of one model share: the frames gathered so far, and what is selected.

import type { AnyModel } from "@anywidget/types";
import { type IMAGE_TYPES, NUMBERED, RUN_STATES } from "./contract";
import type { Binary } from "./frames";
import { type Frame, nearest, unpack } from "./reel";
import { numbered, one, oneForEach, Shared } from "./shared";
import { type Head, head, type Reel, type Selection, type View } from "./view";

const SLOTS = NUMBERED.frame;
const SLOT_NAMES = numbered("frame");

export type RunState = (typeof RUN_STATES)[number];
export interface Picture {
  data: Binary;
  type: (typeof IMAGE_TYPES)[number];
}

/** The traits of the kernel's Viewer beside frame0 .. frame63. */
export interface Model extends Selection {
  uid: string; // of the widget: its views share one store
  head: Record<string, unknown>; // {} before the first run
  pictures: Picture[]; // the final decode, one for each of the batch; [] until the end
  state: RunState;
  message: string;
  panels: string[];
}

/** What the stage shows beyond steps. */
export interface Show extends View {
  readonly state: RunState;
  readonly message: string;
  readonly pictures: readonly Picture[];
}

const isState = one(...RUN_STATES);

/** The frames of the run on show, from the traits; each is read once. */
class Slots implements Reel {
  head: Head | undefined;
  frames: Frame[] = [];
  version = 0;
  lacking = false; // the traits hold smaller frames than there were, and these are not here
  #whole = false; // they hold smaller ones, and the frames here are as they were
  #raw: unknown; // value of the trait `head` that was read
  readonly #seen: unknown[] = new Array(SLOTS).fill(undefined);
  readonly #slots: (Frame | undefined)[] = new Array(SLOTS).fill(undefined);

  at(step: number) {
    return nearest(this.frames, step);
  }

  /** Read what is new; returns whether anything was. */
  read(get: (name: string) => unknown): boolean {
    let changed = false;
    const raw = get("head");
    if (raw !== this.#raw) {
      this.#raw = raw;
      const next = head(raw);
      // The traits may still hold frames of the run before: what was seen stays seen.
      if (next?.run !== this.head?.run) {
        this.#slots.fill(undefined);
        this.#whole = false;
      }
      this.head = next;
      // Who saw the steps as they came has more than the traits are about to hold.
      if (next?.saved && this.#slots.some(Boolean)) this.#whole = true;
      this.lacking = next?.saved === true && !this.#whole;
      changed = true;
    }
    for (const [i, name] of SLOT_NAMES.entries()) {
      const value = get(name);
      if (value === this.#seen[i]) continue;
      this.#seen[i] = value;
      if (this.#whole) continue;
      this.#slots[i] = unpack(value);
      changed = true;
    }
    if (changed) this.#line();
    return changed;
  }

  /** Take the frames as they were, asked for; returns whether they are of this run. */
  receive(run: unknown, names: unknown, buffers: readonly unknown[]): boolean {
    if (run !== this.head?.run || !Array.isArray(names) || !this.lacking) return false;
    names.forEach((name, i) => {
      const slot = SLOT_NAMES.indexOf(name);
      const frame = unpack(buffers[i]);
      if (slot >= 0 && frame !== undefined) this.#slots[slot] = frame;
    });
    this.#whole = true;
    this.lacking = false;
    this.#line();
    return true;
  }

  #line() {
    this.version++;
    const there = this.#slots.filter((frame) => frame !== undefined);
    there.sort((a, b) => a.index - b.index);
    this.frames = there.filter((frame, i) => frame.index !== there[i - 1]?.index);
  }
}

/** The data and the selection of one model, for all its views. */
export class Store extends Shared implements Show {
  readonly reel = new Slots();
  state: RunState = "idle";
  message = "";
  pictures: readonly Picture[] = [];

  constructor(model: AnyModel) {
    super(model);
    this.follow();
  }

  protected override read(): boolean {
    const steps = this.reel.read(this.get);
    const { lacking, head } = this.reel;
    if (lacking && head !== undefined) this.ask(head.run);

    const state = isState(this.get("state")) ?? "idle";
    const message = String(this.get("message") ?? "");
    const value = this.get("pictures");
    const pictures = Array.isArray(value) ? (value as Picture[]) : [];
    const same =
      state === this.state && message === this.message && samePictures(pictures, this.pictures);
    if (!same) Object.assign(this, { state, message, pictures });
    return steps || !same;
  }

  protected override receive({ run, names }: Record<string, unknown>, buffers: readonly unknown[]) {
    return this.reel.receive(run, names, buffers);
  }
}

function samePictures(some: readonly Picture[], others: readonly Picture[]) {
  return some.length === others.length && some.every((one, i) => one.data === others[i]?.data);
}

export const stores = oneForEach((model: AnyModel<Model>) => new Store(model));
