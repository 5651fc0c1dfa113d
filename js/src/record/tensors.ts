// The checks of a file's tensors (trace/stored.py): types, shapes, values and memory.

import { IMAGE_MODES, LATENTS, MOST_PIXELS, RECORD } from "../lib/contract";
import { type Tensor, TYPES, type Type } from "./layout";
import { Fault } from "./refused";
import type { StepInfo } from "./unpacked";

export type Grid = readonly [number, number];
/** Kind of attention -> layer -> the last two sizes of its arrays. */
export type Grids = ReadonlyMap<string, ReadonlyMap<string, Grid>>;

/** An image, by the start of its PNG. */
export interface ImageInfo {
  readonly width: number;
  readonly height: number;
  readonly mode: string; // Pillow's name
}

/** What is known of the tensors' values: all that has been read so far is right, or is named. */
export interface Values {
  /** Tensors with NaN or infinity. */
  readonly infinite: Set<string>;
  /** Tensors of floats with values outside 0 to 65,504. */
  readonly outside: Set<string>;
  /** The images read so far, or what is wrong with them. */
  readonly images: Map<string, ImageInfo | Fault>;
}

const isLatents = (part: string) => (LATENTS as readonly string[]).includes(part);

/** The side of the blocks that an 8-bit map averages; 1 if it keeps every cell. */
export const blockOf = (grid: Grid) => Math.ceil(Math.max(...grid) / RECORD.cells);

export class Tensors {
  readonly all: ReadonlyMap<string, Tensor>;
  readonly values: Values;
  readonly shape: readonly number[]; // of latents, [B, C, h, w]; [] without steps
  readonly grids: Grids;
  readonly precision: string;
  readonly columns: Readonly<Record<string, number>>; // kind of maps -> the fewest
  readonly ownFrom: number; // the first step with these prompts; those before are of a parent's
  #left = RECORD.memory as number;

  constructor(
    all: ReadonlyMap<string, Tensor>,
    values: Values,
    given: Pick<Tensors, "shape" | "grids" | "precision" | "columns" | "ownFrom">,
  ) {
    this.all = all;
    this.values = values;
    this.shape = given.shape;
    this.grids = given.grids;
    this.precision = given.precision;
    this.columns = given.columns;
    this.ownFrom = given.ownFrom;
  }

  isScaled(kind: string) {
    return kind === "queries" || this.precision === "8-bit";
  }

  /** The tensors that a whole step has. */
  *names({ index, parts }: StepInfo): Generator<string> {
    for (const part of parts) {
      const name = `steps.${index}.${part}`;
      if (isLatents(part)) {
        yield name;
        continue;
      }
      const kind = part.replace("attention.", "");
      const count = this.grids.get(kind)?.size ?? 0;
      for (let number = 0; number < count; number++) {
        yield `${name}.${number}`;
        if (this.isScaled(kind)) yield `${name}.${number}.scale`;
      }
    }
  }

  has(info: StepInfo): boolean {
    for (const name of this.names(info)) if (!this.all.has(name)) return false;
    return true;
  }

  /** Refuses a whole step whose tensors are not as they should be. */
  check({ index, parts }: StepInfo) {
    for (const part of parts) {
      const name = `steps.${index}.${part}`;
      if (isLatents(part)) {
        this.checkLatents(name);
        continue;
      }
      const kind = part.replace("attention.", "");
      let number = 0;
      for (const grid of this.grids.get(kind)?.values() ?? []) {
        this.#checkLayer(`${name}.${number++}`, kind, grid, index >= this.ownFrom);
      }
    }
  }

  checkLatents(name: string) {
    this.#reserve(4 * product(this.shape));
    this.#check(name, "F16", this.shape);
  }

  #checkLayer(name: string, kind: string, grid: Grid, own: boolean) {
    const batch = this.shape[0] as number;
    if (kind === "queries") {
      this.#check(name, "I8", [batch, ...grid]);
      this.#check(`${name}.scale`, "F32", [batch, grid[0], 1]);
      return;
    }
    const given = this.#get(name).shape;
    let [count, each]: number[][] = [[batch, grid[0]], [grid[1]]];
    if (kind !== "cells") {
      const [heads, columns] =
        given.length === 5 ? [given[1] as number, given[2] as number] : [0, 0];
      const { pieces } = RECORD;
      const fewest = own ? (this.columns[kind] as number) : 1;
      if (heads < 1 || heads > pieces || columns < fewest || columns > pieces + 3) {
        throw new Fault(`${name} has the shape [${given.join(", ")}]`);
      }
      const by = this.precision === "8-bit" ? blockOf(grid) : 1;
      count = [batch, heads, columns];
      each = grid.map((side) => Math.ceil(side / by));
      if (by > 1) this.#reserve(2 * product(count) * (grid[0] + by) * (grid[1] + by));
    }
    this.#reserve(2 * product(count as number[]) * product(each as number[]));
    const shape = [...(count as number[]), ...(each as number[])];
    if (!this.isScaled(kind)) {
      this.#check(name, "F16", shape);
      return;
    }
    this.#check(name, "U8", shape);
    this.#check(`${name}.scale`, "F32", count as number[]);
    if (this.values.outside.has(`${name}.scale`)) {
      throw new Fault(`${name}.scale is not within 0 and 65,504`);
    }
  }

  #get(name: string): Tensor {
    return this.all.get(name) as Tensor;
  }

  #check(name: string, type: Type, shape: readonly number[]): Tensor {
    const found = this.#get(name);
    if (found.type !== type || found.shape.join() !== shape.join()) {
      const [, said] = TYPES[found.type];
      throw new Fault(`${name} is ${said} [${found.shape.join(", ")}], not [${shape.join(", ")}]`);
    }
    if (this.values.infinite.has(name)) throw new Fault(`${name} has NaN or infinity`);
    return found;
  }

  #reserve(size: number) {
    this.#left -= size;
    if (this.#left < 0) {
      throw new Fault(`it would take more than ${RECORD.memory / 1e9} GB of memory`);
    }
  }

  /** The preview factors [C + 1, 3]; undefined if they are missing. */
  factors(): Tensor | undefined {
    const found = this.all.get("factors");
    if (found === undefined) return undefined;
    const rows = this.shape.length > 0 ? (this.shape[1] as number) + 1 : (found.shape[0] ?? 0);
    if (rows < 2 || rows > RECORD.pieces + 1) throw new Fault(`factors has ${rows} rows`);
    return this.#check("factors", "F32", [rows, 3]);
  }

  givenLatents(): Tensor | undefined {
    if (this.shape.length === 0 || !this.all.has("given_latents")) return undefined;
    return this.#check("given_latents", "F32", this.shape);
  }

  givenDepth(): Tensor | undefined {
    const found = this.all.get("given_depth");
    if (found === undefined) return undefined;
    const { shape } = found;
    if (shape.length !== 2 || product(shape) < 1 || product(shape) > MOST_PIXELS) {
      throw new Fault(`given_depth is [${shape.join(", ")}]`);
    }
    return this.#check("given_depth", "F32", shape);
  }

  /** The label map that the run was given. */
  givenLabelMap(): Tensor | undefined {
    const found = this.all.get("given_label_map");
    if (found === undefined) return undefined;
    const { shape } = found;
    const count = product(shape);
    if (shape.length !== 2 || count < 1 || count > MOST_PIXELS) {
      throw new Fault(`given_label_map is [${shape.join(", ")}]`);
    }
    return this.#check("given_label_map", "U16", shape);
  }

  /** An image; undefined if it has not been read yet. */
  image(name: string): ImageInfo | undefined {
    this.#check(name, "U8", [product(this.#get(name).shape)]);
    const known = this.values.images.get(name);
    if (known === undefined) return undefined;
    if (known instanceof Fault) throw new Fault(`${name} cannot be read: ${known.message}`);
    const { width, height, mode } = known;
    if (!(IMAGE_MODES as readonly string[]).includes(mode) || width * height > MOST_PIXELS) {
      throw new Fault(`${name} cannot be read: ${width} x ${height}, ${mode}`);
    }
    try {
      this.#reserve(width * height * mode.length);
    } catch (error) {
      throw new Fault(`${name} cannot be read: ${(error as Fault).message}`);
    }
    return known;
  }
}

const product = (sizes: readonly number[]) => sizes.reduce((all, one) => all * one, 1);
