// Made from sdwidgets/contract.py by js/contract.py. Edit that file, and build.

/**
 * Numbered traits, and how many there are of each: frame0 to frame63 hold a step each, more0 to
 * more63 the parts of a step that only an opened Studio needs, film0 to film5 a compared run, grid0
 * to grid23 the images that a training made at a step.
 */
export const NUMBERED = { frame: 64, more: 64, film: 6, grid: 24 } as const;

/** The ``v`` of a run's data beside its steps. */
export const HEADER_VERSION = 1;

/** The parts of a frame, in this order: latents, and the attention of each layer. */
export const PARTS = ["x", "denoised", "uncond", "difference", "attention"] as const;

/** The places of a layer in the network. */
export const PLACES = ["down", "mid", "up"] as const;

/** What a heat map is relative to: nothing, or all words of the prompt together. */
export const AGAINST = ["none", "words"] as const;

/** The names of the tokens that do not belong to a word. */
export const SPECIAL = ["<start>", "<end>", "<padding>"] as const;

/** The types of image files. */
export const IMAGE_TYPES = ["image/png", "image/jpeg"] as const;

/**
 * The limits of what a page reads: images of a run, channels and cells along a side of its latents,
 * tokens, layers, pixels along a side of an image, characters of a text, bytes of a frame's JSON.
 */
export const LIMITS = {
  batch: 256,
  channels: 1024,
  side: 4096,
  tokens: 4096,
  layers: 256,
  pixels: 32768,
  text: 100000,
  json: 65536,
} as const;

/**
 * Names in an exported page: the ids of the element to draw into and of the data, and the key of
 * bytes in base64 in the data.
 */
export const EXPORTED = { root: "sdw", data: "sdw-data", bytes: "$bytes" } as const;

/**
 * The traits of all viewers that a page may set; `widgets.selection.Selections` documents them.
 * Numbers whose default is None may be None.
 */
export const SELECTION = {
  step: { kind: "whole", default: -1, least: -1 },
  word: { kind: "text", default: "", longest: 1000 },
  other: { kind: "text", default: "", longest: 1000 },
  layer: { kind: "whole", default: -1, least: -1 },
  span: { kind: "choice", default: "run", among: ["run", "step"] },
  guidance: { kind: "real", default: null, least: -100, most: 100 },
  picture: { kind: "whole", default: 0, least: 0 },
  view: { kind: "choice", default: "picture", among: ["picture", "clean", "noisy", "change"] },
  opacity: { kind: "real", default: 0.6, least: 0, most: 1 },
  colormap: { kind: "choice", default: "magma", among: ["magma", "viridis", "grey"] },
  contour: { kind: "flag", default: false },
} as const;

/** The traits of the lab that a page may set, beside the autoencoders shown. */
export const LAB_SELECTION = {
  panel: { kind: "choice", default: "latents", among: ["latents", "play", "between", "noise"] },
  side: { kind: "choice", default: 128, among: [64, 128, 256] },
  view: { kind: "choice", default: "rebuilt", among: ["rebuilt", "error", "slider"] },
} as const;

/** How a start image of another shape is fitted to the run's, as in `settings.FITS`. */
export const FITS = ["crop", "pad", "stretch"] as const;

/** The panels of a viewer. */
export const PANELS = ["denoising", "attention", "tokens"] as const;

/** The states of a run in a viewer. */
export const RUN_STATES = ["idle", "loading", "running", "done", "stopped", "error"] as const;

/** The states of a training. */
export const TRAINING_STATES = [
  "idle",
  "running",
  "pausing",
  "paused",
  "stopping",
  "done",
  "stopped",
  "error",
] as const;

/** The states of the lab. */
export const LAB_STATES = ["idle", "working", "error"] as const;

/** The kinds of messages that a page sends to the kernel. */
export const ASKS = {
  viewer: ["frames"],
  picture: ["hello", "ping"],
  studio: ["generate", "stop"],
  start: ["file", "take", "restore", "dismiss", "drop", "set"],
  history: ["recall", "pin", "delete", "use", "compare", "open"],
  training: ["hello", "pause", "resume", "stop"],
  lab: ["file", "sample", "edit", "touch", "undo", "redo", "reset", "swap", "send"],
} as const;

/**
 * The most bytes of a file, and of each part in which it is sent, since some servers cut longer
 * messages.
 */
export const UPLOAD = { largest: 16777216, part: 1048576 } as const;

/** The most autoencoders side by side. */
export const MOST_AUTOENCODERS = 4;

/** The types of edits of latents. */
export const EDITS = ["knock", "scale", "noise", "shift", "flip", "paint", "walk"] as const;

/** The value of a channel that stands for all of them. */
export const ALL_CHANNELS = -1;

/** The largest factor of a scaling, value of a painting and amount of a walk, up or down. */
export const EDIT_LIMIT = 4;

/** The modes of painting. */
export const PAINT_MODES = ["set", "add"] as const;

/** What a person may point at: a latent cell or a pixel of the image. */
export const TOUCHED = ["cell", "pixel"] as const;

/** The noise levels at which an image is shown. */
export const NOISE_LEVELS = 21;
