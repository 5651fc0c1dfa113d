// What every part of the lab gets: the kernel's results and the selection.
// A part is a function (view: LabView) => Part; only `send` asks the kernel for anything.

import type { Binary } from "../lib/bytes";
import type { ASKS, EDITS, LAB_STATES, TOUCHED } from "../lib/contract";
import type { LabSelection } from "../lib/selection";

/** An autoencoder that may be chosen. */
export interface Entry {
  name: string;
  label: string;
  kind: string; // "KL" | "VQ" | "KL (model)"
  factor: number; // f
  channels: number;
  codes: number; // 0: KL
  bits: number; // per pixel; for KL at most
  ratio: number; // so many times fewer numbers
}

export interface Sample {
  name: string;
  caption: string;
  data: Binary; // PNG, 64 px
}

export interface Picture {
  name: string;
  width: number;
  height: number;
  data: Binary; // PNG or JPEG
  notices: string[];
}

export interface Result {
  name: string;
  data: Binary; // the reconstruction
  error: Binary; // uint8 [H * W]
  error_max: number; // the absolute error, of 255, at 255
  psnr: number | null;
  ssim: number | null;
  perceptual: number | null;
  bits: number | null;
  seconds: number;
  padded: [number, number] | null;
  notices: string[];
}

export interface Latents {
  name: string;
  channels: number;
  width: number; // in cells
  height: number;
  mean: Binary; // float16 [C, h, w]
  std: Binary | null; // of KL
  sample: Binary;
  sample_data: Binary; // the sample decoded
  stats: { mean: number | null; std: number | null; min: number | null; max: number | null }[];
  codes: {
    count: number; // K
    indices: Binary; // uint16 [h * w], little endian
    used: number;
    perplexity: number | null;
    colours: Binary; // uint8 [h * w * 3]
  } | null;
}

export type EditJson = { type: (typeof EDITS)[number] } & Record<string, unknown>;

/** What the kernel is asked, besides the selection. */
export type Message = { kind: (typeof ASKS)["lab"][number] } & Record<string, unknown>;

export interface Edited {
  name: string;
  data: Binary; // decoded
  channels: number;
  width: number; // in cells
  height: number;
  latents: Binary; // float16 [C, h, w], edits applied
  psnr: number | null;
  edits: string[]; // in words, in order
  applied: EditJson[]; // the same as data, without the cells of paint
  undone: number; // steps that can be made again
  undoable: number; // steps that can be taken back
  directions: { share: number }[]; // of the variance; may come later
}

export interface Touch {
  of: (typeof TOUCHED)[number];
  x: number;
  y: number;
  width: number; // of "cell": in pixels; of "pixel": in cells
  height: number;
  data: Binary; // uint8 [h * w]
  share: number; // that lies in its own place
}

export interface Between {
  name: string;
  steps: number;
  width: number;
  height: number;
  latent: Binary[];
  pixel: Binary[];
}

export interface Level {
  t: number;
  sigma: number;
  snr_db: number;
  noisy: Binary;
  latents: Binary; // RGB [h * w * 3]
  guess: Binary;
}

export interface Noise {
  model: string;
  prompt: string;
  width: number; // of the latents, in cells
  height: number;
  steps: Level[]; // so far; 21 in the end
}

export interface Data {
  catalogue: Entry[];
  samples: Sample[];
  state: (typeof LAB_STATES)[number];
  message: string;
  can_send: boolean;
  picture: Picture | undefined; // undefined: {} in the trait
  second: Picture | undefined;
  results: Result[];
  latents: Latents | undefined;
  edited: Edited | undefined;
  touch: Touch | undefined;
  between: Between | undefined;
  noise: Noise | undefined;
}

/** The traits that the page sets, too. */
export interface Selection extends LabSelection {
  chosen: string[];
  active: string;
}

/** The state of this page alone. */
export interface Here {
  cell: { x: number; y: number } | undefined; // the latent cell under the pointer
  pixel: { x: number; y: number } | undefined; // the pixel under the pointer
}

export type What = keyof Data | keyof Selection | "here";

export interface LabView {
  readonly data: Data;
  readonly selection: Selection;
  readonly here: Here;
  select(change: Partial<Selection>): void; // sets the traits and saves them
  point(here: Partial<Here>): void; // asks the kernel for the receptive field once it rests
  send(message: Message, buffers?: ArrayBuffer[]): void; // nobody may hear
  open(file: File, second?: boolean): void; // sends an image file, or says why not
  onChange(listener: (what: ReadonlySet<What>) => void): () => void; // returns the cleanup
}

export interface Part {
  readonly element: HTMLElement;
  update(what: ReadonlySet<What>): void; // also called once with everything after it is made
  remove?(): void;
}

export type MakePart = (view: LabView) => Part;
