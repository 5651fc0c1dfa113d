// Made-up runs for the tests: headers and frames as the kernel packs them.

import type { Frame } from "../src/lib/reel";
import { reelOf, unpack } from "../src/lib/reel";
import { selectionOf } from "../src/lib/selection";
import type { Show } from "../src/lib/show";
import type { Header, Hover, ImageHeader, Reel, Selection, What } from "../src/lib/view";

/** Probability of a token at a spot (shares 0..1 of the picture) of a layer at a step. */
export type Probability = (token: number, x: number, y: number, at: Place) => number;

export interface Place {
  step: number;
  layer: number;
  picture: number;
}

export interface Options {
  steps?: number;
  grids?: [number, number][];
  labels?: string[];
  prompts?: string[];
  size?: [number, number]; // width and height of the picture
  guided?: boolean; // with both halves of guidance
  header?: Partial<Header>;
  probability?: Probability;
}

const PADDING = 2; // columns kept of it
const CHANNELS = 3;

/** A prompt's words, split at spaces; those of more than six letters in two pieces. */
export function imageHeader(prompt: string, seed = 7): ImageHeader {
  const pieces: string[] = [];
  const words: ImageHeader["words"] = [];
  let at = 0;
  for (const text of prompt.split(" ")) {
    const parts = text.length > 6 ? [text.slice(0, 4), text.slice(4)] : [text];
    const tokens = parts.map((part) => pieces.push(part));
    const length = [...text].length;
    if (/\w/u.test(text)) words.push({ text, tokens, start: at, end: at + length });
    at += length + 1;
  }
  return { prompt, negative_prompt: "", seed, slots: 77, cut: "", pieces, words };
}

export function madeHeader(options: Options = {}): Header {
  const { steps = 4, grids = [[4, 4]], prompts = ["a cat"], size = [32, 32] } = options;
  return {
    v: 1,
    run: 1,
    model: "emoji",
    task: "text to image",
    sampler: "dpmpp_2m",
    schedule: "default",
    steps,
    guidance_scale: 3,
    guided: options.guided ?? false,
    width: size[0],
    height: size[1],
    factors: [
      [1, 0, 0],
      [0, 1, 0],
      [0, 0, 1],
      [0, 0, 0],
    ],
    sigmas: Array.from({ length: steps + 1 }, (_, i) => 10 * (1 - i / steps)),
    schedule_sigmas: [],
    layers: grids.map((_, i) => ({
      name: `layer.${i}`,
      label: options.labels?.[i] ?? `down ${i + 1}`,
      place: "down",
    })),
    recipe: { layers: grids.map((_, i) => i), steps: [0, 1], against: "none" },
    pictures: prompts.map((prompt, i) => imageHeader(prompt, 7 + i)),
    ...options.header,
  };
}

function frameBytes(header: Header, step: number, options: Options): Uint8Array<ArrayBuffer> {
  const { grids = [[4, 4]], probability = () => 0.5, guided = false } = options;
  const batch = header.pictures.length;
  const tokens = Math.max(...header.pictures.map((one) => one.pieces.length)) + 2 + PADDING;
  const size = [batch, CHANNELS, Math.round(header.height / 8), Math.round(header.width / 8)];
  const latents = size.reduce((product, side) => product * side, 1);
  const of = ["x", "denoised", ...(guided ? ["uncond", "difference"] : [])];
  const parts = [...of, ...(grids.length > 0 ? ["attention"] : [])];
  const sigma = header.sigmas[step] ?? 1;
  const meta = { index: step, sigma, sigma_next: header.sigmas[step + 1] ?? 0, seconds: 0.03 };
  let json = JSON.stringify({ ...meta, size, parts, grids, tokens: grids.length > 0 ? tokens : 0 });
  while ((4 + json.length) % 4 !== 0) json += " ";

  const out: number[] = [];
  const pad = () => {
    while (out.length % 4 !== 0) out.push(0);
  };
  const number = (value: number, method: "setUint32" | "setFloat32") => {
    const view = new DataView(new ArrayBuffer(4));
    view[method](0, value, true);
    out.push(...new Uint8Array(view.buffer));
  };
  number(json.length, "setUint32");
  out.push(...new TextEncoder().encode(json));
  of.forEach((_, part) => {
    for (let i = 0; i < latents; i++) {
      // float16: 0, 0.5 and 1 are enough
      const half = [0, 0x3800, 0x3c00][(part + i + step) % 3] as number;
      out.push(half & 255, half >> 8);
    }
    pad();
  });
  grids.forEach(([h, w], layer) => {
    const maps: number[][] = [];
    for (let picture = 0; picture < batch; picture++) {
      for (let token = 0; token < tokens; token++) {
        const map = Array.from({ length: h * w }, (_, i) => {
          const [x, y] = [((i % w) + 0.5) / w, (Math.floor(i / w) + 0.5) / h];
          return probability(token, x, y, { step, layer, picture });
        });
        maps.push(map);
      }
    }
    const scales = maps.map((map) => Math.max(...map, 1e-8));
    for (const scale of scales) number(scale, "setFloat32");
    maps.forEach((map, i) => {
      for (const value of map) out.push(Math.round((value / (scales[i] as number)) * 255));
    });
    pad();
  });
  return Uint8Array.from(out);
}

/** A run's header and its packed steps. */
export function madeRun(options: Options = {}): {
  header: Header;
  frames: Uint8Array<ArrayBuffer>[];
} {
  const header = madeHeader(options);
  const frames = Array.from({ length: header.steps }, (_, i) => frameBytes(header, i, options));
  return { header, frames };
}

export function madeReel(options: Options = {}): Reel {
  const { header, frames } = madeRun(options);
  return reelOf(
    header,
    frames.map((one) => unpack(one) as Frame),
  );
}

export const nothingSelected: Selection = { ...selectionOf(() => undefined), view: "clean" };

/** A view of a reel: what is selected and pointed at is kept, and all are told. */
export class MadeView implements Show {
  selection: Selection;
  hover: Hover = {};
  state = "done" as const;
  message = "";
  pictures = [];
  own = true;
  reel: Reel;
  readonly #listeners = new Set<(what: What) => void>();

  constructor(reel: Reel, selected: Partial<Selection> = {}) {
    this.reel = reel;
    this.selection = { ...nothingSelected, ...selected };
  }

  select(change: Partial<Selection>) {
    this.selection = { ...this.selection, ...change };
    this.tell("selection");
  }

  peek(hover: Hover) {
    this.hover = hover;
    this.tell("hover");
  }

  onChange(listener: (what: What) => void) {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  tell(what: What) {
    for (const listener of this.#listeners) listener(what);
  }
}
