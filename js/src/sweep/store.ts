// A sweep as its views share it: the plan, the states of its points, their images and scores.

import type { AnyModel } from "@anywidget/types";
import { addressOf, type Binary, bytes, saveFile } from "../lib/bytes";
import { quietly } from "../lib/choices";
import { type ASKS, CELL_STATES, SWEEP_LIMITS, type SWEEP_STATES } from "../lib/contract";
import { isNumber } from "../lib/numbers";
import { oneForEach } from "../lib/shared";
import { type Axis, sizes } from "./places";

export type State = (typeof SWEEP_STATES)[number];
export type CellState = (typeof CELL_STATES)[number];
type Ask = (typeof ASKS)["sweep"][number];

/** The traits of the kernel's view of a sweep. The page never sets one. */
export interface Model {
  uid: string;
  plan: { axes?: Axis[]; about?: [string, string][] };
  shape: number[]; // width and height of the images
  run: { state: State; message: string };
  progress: Partial<Progress>;
  cells: unknown; // a byte for each point
  score_names: string[];
  scores: unknown; // float32 [points, names]
  errors: Record<string, string>; // by point
  sprite: { data?: Binary; columns?: number }; // all images, small
}

export interface Progress {
  count: number; // points
  done: number; // without those that failed
  failed: number;
  steps: number; // of all points, if none were shared
  saved: number; // by sharing
  left: number | null; // seconds
}

/** Everything about a point, from the kernel. */
export interface Point {
  index: number;
  about: [string, string][];
  made: unknown;
  error: string;
  scores: (number | null)[];
  type: "image/png" | "image/jpeg";
  data: Binary | undefined;
  studio: boolean;
  whole: boolean;
}

/** The steps of a point that runs. */
export interface Running {
  step: number;
  steps: number;
}

/** What changed: the plan, the shape of the images, the run, some points (all without a list), or a message that came. */
export type News =
  | { what: "plan" | "shape" | "run" }
  | { what: "points"; points: readonly number[] | undefined }
  | { what: "point"; point: Point }
  | { what: "told"; message: string };

const OPENED = 8; // points whose images are kept in full
const ANSWERED = 2000; // ms, after which the next images are asked for

export class Store {
  axes: readonly Axis[] = [];
  shape: [number, number] = [1, 1];
  progress: Progress = { count: 0, done: 0, failed: 0, steps: 0, saved: 0, left: null };
  readonly running = new Map<number, Running>();
  readonly #model: AnyModel<Model>;
  readonly #listeners = new Set<(news: News) => void>();
  readonly #images = new Map<number, string>(); // addresses
  readonly #points = new Map<number, Point>();
  readonly #wanted = new Set<number>();
  #asked: ReturnType<typeof setTimeout> | undefined; // until an answer has had its time
  #cells: Uint8Array = new Uint8Array();
  #scores = new Float32Array();
  #sprite: { of: unknown; address: string | undefined } = { of: undefined, address: undefined };
  #seen: { plan?: unknown; cells?: unknown; scores?: unknown; errors?: unknown } = {};

  constructor(model: AnyModel<Model>) {
    this.#model = model;
    this.#follow("on");
    this.#read();
  }

  remove() {
    this.#follow("off");
    clearTimeout(this.#asked);
    this.#listeners.clear();
    this.#forget();
    if (this.#sprite.address) URL.revokeObjectURL(this.#sprite.address);
  }

  onNews(listener: (news: News) => void) {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  send(kind: Ask, more: Record<string, unknown> = {}) {
    quietly(() => this.#model.send({ kind, ...more }));
  }

  get run() {
    return this.#model.get("run") ?? { state: "idle", message: "" };
  }
  get count() {
    return this.#cells.length;
  }
  /** The settings of all points, in words. */
  get about() {
    return this.#model.get("plan")?.about ?? [];
  }
  get scoreNames(): string[] {
    return this.#model.get("score_names") ?? [];
  }

  state(point: number): CellState {
    return CELL_STATES[this.#cells[point] ?? 0] ?? "waiting";
  }
  error(point: number): string {
    return this.#model.get("errors")?.[point] ?? "";
  }
  score(point: number, which: number): number {
    const names = this.scoreNames.length;
    return which < 0 ? Number.NaN : (this.#scores[point * names + which] ?? Number.NaN);
  }
  /** The address of a point's small image; undefined as long as it is not here. */
  image(point: number): string | undefined {
    return this.#images.get(point);
  }
  /** Where a point stands in the saved image of all; undefined without that. */
  tile(point: number) {
    const { data, columns } = this.#model.get("sprite") ?? {};
    if (!isNumber(columns) || columns < 1) return undefined;
    if (data !== this.#sprite.of) {
      if (this.#sprite.address) URL.revokeObjectURL(this.#sprite.address);
      const has = bytes(data).length > 0;
      this.#sprite = { of: data, address: has ? addressOf(data, "image/jpeg") : undefined };
    }
    const { address } = this.#sprite;
    const rows = Math.ceil(this.count / columns);
    const at = [point % columns, Math.floor(point / columns)] as const;
    return address === undefined ? undefined : { address, columns, rows, at };
  }
  /** Everything about a point that was opened. */
  point(point: number): Point | undefined {
    return this.#points.get(point);
  }

  /** Asks for the small images of points that are done and not here. */
  look(points: readonly number[]) {
    for (const point of points) {
      if (this.state(point) === "done" && !this.#images.has(point)) this.#wanted.add(point);
    }
    if (this.#asked === undefined) this.#ask();
  }

  #ask() {
    const points = [...this.#wanted].filter((point) => !this.#images.has(point));
    const now = points.slice(0, SWEEP_LIMITS.asked);
    this.#wanted.clear();
    for (const point of points.slice(SWEEP_LIMITS.asked)) this.#wanted.add(point);
    if (now.length === 0) return;
    this.send("look", { points: now });
    this.#asked = setTimeout(this.#next, ANSWERED); // it may be lost, or there is no kernel
  }

  readonly #next = () => {
    clearTimeout(this.#asked);
    this.#asked = undefined;
    this.#ask();
  };

  /** Asks for everything about a point. */
  open(point: number) {
    this.send("open", { point });
  }

  // ------------------------------------------------------------------------------- the kernel

  #follow(how: "on" | "off") {
    const events = this.#model as unknown as Record<"on" | "off", (n: string, h: unknown) => void>;
    events[how]("change", this.#changed);
    events[how]("msg:custom", this.#heard);
  }

  /** Reads the traits; returns the points that changed, undefined for all of them. */
  #read(): readonly number[] | undefined {
    const [plan, cells, scores, errors] = (["plan", "cells", "scores", "errors"] as const).map(
      (name) => this.#model.get(name) as unknown,
    );
    const isNew = plan !== this.#seen.plan;
    if (isNew) {
      this.axes = ((plan ?? {}) as Model["plan"]).axes ?? [];
      this.#forget();
    }
    const [width, height] = this.#model.get("shape") ?? [];
    this.shape = [width || 1, height || 1];
    const progress = this.#model.get("progress") ?? {};
    this.progress = { ...EMPTY, ...progress };
    let changed: number[] = [];
    if (cells !== this.#seen.cells || isNew) {
      const before = this.#cells;
      const all = this.axes.length > 0 ? sizes(this.axes).reduce((product, n) => product * n) : 0;
      const now = bytes(cells);
      this.#cells = now.length === all ? now.slice() : new Uint8Array(all);
      changed = [...this.#cells.keys()].filter((i) => this.#cells[i] !== before[i]);
      for (const point of changed) {
        if (this.state(point) !== "running") this.running.delete(point);
        this.#points.delete(point); // it is about another state
      }
    }
    const all = isNew || scores !== this.#seen.scores || errors !== this.#seen.errors;
    if (scores !== this.#seen.scores) {
      const data = bytes(scores).slice();
      this.#scores = new Float32Array(data.buffer, 0, Math.floor(data.length / 4));
    }
    this.#seen = { plan, cells, scores, errors };
    return all ? undefined : changed;
  }

  #forget() {
    for (const address of this.#images.values()) URL.revokeObjectURL(address);
    this.running.clear();
    this.#images.clear();
    this.#points.clear();
    this.#wanted.clear();
  }

  readonly #changed = () => {
    const { plan } = this.#seen;
    const shape = this.shape.join();
    const points = this.#read();
    if (plan !== this.#seen.plan) this.#tell({ what: "plan" });
    else if (shape !== this.shape.join()) this.#tell({ what: "shape" });
    if (points === undefined || points.length > 0) this.#tell({ what: "points", points });
    this.#tell({ what: "run" });
  };

  readonly #heard = (message: unknown, buffers: readonly unknown[] = []) => {
    const said = Object(message) as Record<string, unknown>;
    if (said.kind === "news") this.#take(said, buffers);
    if (said.kind === "point") this.#opened(said, buffers[0]);
    if (said.kind === "told") this.#tell({ what: "told", message: String(said.message) });
    if (said.kind === "file") saveFile(String(said.name), String(said.type), buffers[0]);
  };

  #take({ images, running }: Record<string, unknown>, buffers: readonly unknown[]) {
    const points = whole(images);
    points.forEach((point, i) => {
      const old = this.#images.get(point);
      if (old) URL.revokeObjectURL(old);
      this.#images.set(point, addressOf(buffers[i], "image/jpeg"));
    });
    const made = points.length > 0;
    for (const entry of Array.isArray(running) ? running : []) {
      const [point, step, steps] = whole(entry);
      if (point === undefined || step === undefined || steps === undefined) continue;
      if (this.state(point) === "done") continue; // the message is older than the trait
      this.running.set(point, { step, steps });
      points.push(point);
    }
    if (made) this.#next();
    this.#tell({ what: "points", points });
  }

  #opened(said: Record<string, unknown>, data: unknown) {
    const { index, about, made, error, scores, type, studio, whole } = said as unknown as Point;
    if (!Number.isInteger(index)) return;
    const point: Point = {
      index,
      about: Array.isArray(about) ? about : [],
      made,
      error: String(error ?? ""),
      scores: Array.isArray(scores) ? scores : [],
      type: type === "image/jpeg" ? type : "image/png",
      data: bytes(data).length > 0 ? (data as Binary) : undefined,
      studio: studio === true,
      whole: whole === true,
    };
    this.#points.delete(index);
    this.#points.set(index, point);
    for (const old of [...this.#points.keys()].slice(0, -OPENED)) this.#points.delete(old);
    this.#tell({ what: "point", point });
  }

  #tell(news: News) {
    for (const listener of [...this.#listeners]) listener(news);
  }
}

const EMPTY: Progress = { count: 0, done: 0, failed: 0, steps: 0, saved: 0, left: null };

/** The whole numbers of a list; [] for anything else. */
const whole = (list: unknown): number[] =>
  Array.isArray(list) ? list.filter((one) => Number.isInteger(one) && one >= 0) : [];

export const stores = oneForEach((model: AnyModel<Model>) => new Store(model));
