// The boxes in this page: all views of a widget share them. What is drawn is seen at once, and goes
// to the kernel change by change. The kernel has the last word.

import type { AnyModel } from "@anywidget/types";
import { quietly } from "../lib/choices";
import { type ASKS, BOXES } from "../lib/contract";
import { Turns } from "../painter/turns";
import type { NamedBox } from "./geometry";
import type { Model } from "./traits";

export type Kind = (typeof ASKS)["boxes"][number];
type Boxes = readonly NamedBox[];

const same = (one: Boxes, other: Boxes) => JSON.stringify(one) === JSON.stringify(other);

export class Layout {
  /** From back to front. */
  boxes: Boxes = [];
  readonly #model: AnyModel<Model>;
  readonly #turns = new Turns();
  readonly #listeners = new Set<() => void>();
  #states: Boxes[] = []; // of this page's changes, oldest first
  #at = 0; // which of them is shown
  #dragging = false;

  constructor(model: AnyModel<Model>) {
    this.#model = model;
    model.on("change", this.#read);
    this.#adopt(model.get("boxes") ?? []);
  }

  remove() {
    this.#model.off("change", this.#read);
    this.#listeners.clear();
  }

  onChange(listener: () => void) {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  ask(kind: Kind, more: object = {}, data: ArrayBuffer[] = []) {
    quietly(() => this.#model.send({ kind, ...more }, undefined, data));
  }

  /** Shows boxes while a hand changes them; `set` or `cancel` ends that. */
  drag(boxes: Boxes) {
    this.#dragging = true;
    this.boxes = boxes;
    this.#tell();
  }

  /** Forgets what was dragged. */
  cancel() {
    if (!this.#dragging) return;
    this.#dragging = false;
    this.boxes = this.#states[this.#at] as Boxes;
    this.#tell();
    this.#read();
  }

  /** Changes the boxes, and tells the kernel. */
  set(boxes: Boxes) {
    this.#dragging = false;
    this.boxes = boxes;
    if (!same(boxes, this.#states[this.#at] as Boxes)) {
      this.#states = [...this.#states.slice(0, this.#at + 1), boxes].slice(-BOXES.undo);
      this.#at = this.#states.length - 1;
      this.#send();
    }
    this.#tell();
  }

  get undos() {
    return this.#at || this.#model.get("undos");
  }
  get redos() {
    return this.#states.length - 1 - this.#at || this.#model.get("redos");
  }
  undo() {
    this.#travel(-1, "undo");
  }
  redo() {
    this.#travel(1, "redo");
  }

  #travel(by: number, kind: "undo" | "redo") {
    const boxes = this.#states[this.#at + by];
    if (!boxes) return this.ask(kind); // of changes that another page made, or this one before
    this.#at += by;
    this.boxes = boxes;
    this.#send();
    this.#tell();
  }

  #send() {
    const { page } = this.#turns;
    this.ask("boxes", { page, number: this.#turns.next(), boxes: this.boxes });
  }

  /** Takes the kernel's boxes over these, unless the kernel is to hear of these first. */
  readonly #read = () => {
    this.#turns.read(this.#model.get("stamp"));
    const boxes = this.#model.get("boxes");
    if (!this.#dragging && this.#turns.answered && !same(boxes, this.boxes)) this.#adopt(boxes);
    this.#tell();
  };

  #adopt(boxes: Boxes) {
    this.boxes = boxes;
    this.#states = [boxes]; // the kernel knows what came before
    this.#at = 0;
  }

  #tell() {
    for (const listener of this.#listeners) listener();
  }
}
