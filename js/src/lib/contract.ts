// Made from sdwidgets/contract.py by js/contract.py. Edit that file, and build.

/**
 * Numbered traits, and how many there are of each: frame0 to frame63 hold a step each, more0 to
 * more63 the parts of a step that only an opened Studio needs, film0 to film5 a compared run, grid0
 * to grid23 the images that a training made at a step, row0 to row63 those of a run in a tree,
 * still0 to still127 the frames of a walk.
 */
export const NUMBERED = { frame: 64, more: 64, film: 6, grid: 24, row: 64, still: 128 } as const;

/** The ``v`` of a run's data beside its steps. */
export const HEADER_VERSION = 1;

/**
 * The parts of a frame, in this order: latents, the attention of each layer, and what controls add
 * at each level.
 */
export const PARTS = ["x", "denoised", "uncond", "difference", "attention", "control"] as const;

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
 * The limits of an exported page: bytes of all steps together, of which larger runs have the
 * latents and maps averaged down; bytes of an image, of which larger ones become JPEGs; characters
 * of the title.
 */
export const EXPORT_LIMITS = { run: 12000000, image: 2000000, title: 200 } as const;

/**
 * An exported page, to be filled in: its HTML, the policy that allows its one script by its digest,
 * and what stands in it where attention was not recorded.
 */
export const PAGE = {
  document:
    '<!doctype html>\n<html lang="en" class="sdw-exported">\n<head>\n<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" content="{policy}">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{title}</title>\n<style>{style}</style>\n</head>\n<body>\n<header class="sdw sdw-page">\n<h1 dir="auto">{heading}</h1>\n<p>{summary}</p>\n</header>\n<main id="{root}">\n<noscript>\n{still}\n</noscript>\n</main>\n<footer class="sdw sdw-page">\n{absent}<h2>Settings</h2>\n<dl>\n{about}\n</dl>\n</footer>\n<script type="application/json" id="{place}">{data}</script>\n<script type="module">{script}</script>\n</body>\n</html>\n',
  policy:
    "default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src blob: data:; base-uri 'none'; form-action 'none'",
  absent: "<p>Attention was not recorded: a run with <code>attention=True</code> shows it.</p>\n",
} as const;

/**
 * The format of recorded runs (`trace.file`) and its limits: bytes of a file and of its header,
 * tensors, values in the header's JSON, bytes of all arrays and images, steps, pieces of a prompt
 * (also slots, heads and channels), layers of all steps together, cells along a side, the highest
 * noise level, cells along the longer side of an 8-bit map.
 */
export const RECORD = {
  format: 1,
  file: 1000000000,
  header: 16777216,
  tensors: 150000,
  values: 2000000,
  memory: 4000000000,
  steps: 10000,
  pieces: 1000,
  layers: 200000,
  side: 4096,
  sigma: 1000000,
  cells: 32,
} as const;

/** The precisions in which a record may keep attention. */
export const PRECISIONS = ["8-bit", "float16"] as const;

/** The latents of a recorded step. */
export const LATENTS = ["x", "denoised", "uncond", "difference", "x_next"] as const;

/**
 * What is recorded as maps: attention, a map for each token; and what controls add, one for each
 * level.
 */
export const MAPS = ["cross", "uncond", "control"] as const;

/**
 * What a step records by layer, and the name of that part of a recorded step: kinds of attention,
 * and what controls add.
 */
export const KINDS = {
  cross: "attention.cross",
  uncond: "attention.uncond",
  cells: "attention.cells",
  queries: "attention.queries",
  control: "control",
} as const;

/**
 * The limits of the parents in a record's JSON: how many, each the parent of the one before;
 * characters of all together; first steps that a branch shares with its parent.
 */
export const PARENT = { depth: 16, text: 1000000, step: 10000 } as const;

/** The most controls of a run. */
export const MOST_CONTROLS = 8;

/** The lowest and the highest factor of what a control adds. */
export const CONTROL_STRENGTH = [0, 10] as const;

/** The modes of the images in a record. */
export const IMAGE_MODES = ["L", "RGB", "RGBA"] as const;

/** Cells along the longer side of the latents and maps of a frame; more are averaged down. */
export const LONGEST_SIDE = 64;

/** The most bytes sent of a step; larger steps are averaged down. */
export const LARGEST_FRAME = 2000000;

/** The layers and steps of a heat map by default, as in `trace.recipe.DEFAULT`. */
export const DEFAULT_RECIPE = { places: ["down", "up"], cells: 384, steps: [0.8, 1.0] } as const;

/** The preview factors of Stable Diffusion 1, as in `trace.images`. */
export const SD1_PREVIEW = [
  [0.298, 0.207, 0.208],
  [0.187, 0.286, 0.173],
  [-0.158, 0.189, 0.264],
  [-0.184, -0.271, -0.473],
  [0, 0, 0],
] as const;

/**
 * The limits of a model's sources, as in `sources`: how many, characters of a name, the greatest
 * strength.
 */
export const SOURCES = { most: 64, name: 512, strength: 1000000 } as const;

/** The most pixels of an image, as in `pictures.MAX_PIXELS`. */
export const MOST_PIXELS = 40000000;

/** The keyword of the text in a PNG file that has the settings. */
export const TEXT_KEY = "sdwidgets";

/** The format of the settings that are written today, as in `trace.older`. */
export const SETTINGS_FORMAT = 4;

/** The lowest and the highest value of each number among the settings, as in `settings.LIMITS`. */
export const SETTINGS_LIMITS = {
  steps: [1, 1000],
  guidance_scale: [0, 100],
  guidance_rescale: [0, 1],
  seed: [0, 4294967295],
  width: [1, 4096],
  height: [1, 4096],
  batch_size: [1, 64],
  strength: [0, 1],
  image_guidance_scale: [1, 100],
  noise_level: [0, 999],
  aesthetic_score: [0, 10],
  negative_aesthetic_score: [0, 10],
  clip_skip: [0, 31],
  chunks: [1, 10],
  start_step: [0, 999],
  end_step: [1, 1000],
  hires: [1, 4],
  hires_strength: [0, 1],
  hires_steps: [1, 1000],
  window: [1, 4096],
  refiner_start: [0, 1],
  guide_scale: [0, 10000],
  eta: [0, 1],
  s_noise: [0, 2],
  s_churn: [0, 100],
} as const;

/** Characters of a prompt. */
export const LONGEST_PROMPT = 100000;

/** The limits of what names classes: boxes of an image, characters of a name, a class's number. */
export const CLASSES = { boxes: 100, name: 200, number: 1000000 } as const;

/** Images that a run may be given as neighbours. */
export const MOST_NEIGHBOURS = 64;

/** Pixels along a side of an image that a model is told of. */
export const LARGEST_SIDE = 100000;

/** The samplers, and the names of the options of each, as in `sampling.OPTIONS`. */
export const SAMPLERS = {
  dpmpp_2m: [],
  euler: ["s_churn", "s_noise"],
  euler_ancestral: ["eta", "s_noise"],
  heun: ["s_churn", "s_noise"],
  unipc: [],
  dpmpp_2m_sde: ["eta", "s_noise"],
  dpmpp_3m_sde: ["eta", "s_noise"],
  dpmpp_sde: ["eta", "s_noise"],
  dpmpp_2s_ancestral: ["eta", "s_noise"],
  dpm2: ["s_churn", "s_noise"],
  dpm2_ancestral: ["eta", "s_noise"],
  lms: [],
  ddim: ["eta"],
  ddpm: ["eta"],
  plms: [],
  lcm: [],
  tcd: ["eta"],
} as const;

/** The options that some sampler has, each with the value that changes nothing. */
export const OPTIONS = { eta: 0, s_noise: 1, s_churn: 0 } as const;

/** What is enlarged between two passes. */
export const HIRES_METHODS = ["latents", "pixels"] as const;

/** The noise grids, as in `sampling.SCHEDULES`. */
export const SCHEDULES = [
  "default",
  "karras",
  "exponential",
  "simple",
  "sgm_uniform",
  "beta",
  "uniform",
  "trailing",
  "ddim",
  "dpmsolver",
  "config",
] as const;

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

/** What brackets in prompts do, as in `prompts.WEIGHTS`. */
export const WEIGHTS = ["mean", "plain", "none"] as const;

/** How a start image of another shape is fitted to the run's, as in `settings.FITS`. */
export const FITS = ["crop", "pad", "stretch"] as const;

/** The defaults of `settings.Settings`, which notebook cells leave out. */
export const DEFAULTS = {
  prompt: "",
  negative_prompt: "",
  weights: "mean",
  clip_skip: 0,
  chunks: 10,
  schedule: "default",
  start_step: 0,
  guidance_rescale: 0.0,
  batch_size: 1,
  strength: 0.8,
  fit: "crop",
  hires_strength: 0.6,
  hires_method: "latents",
  guide_scale: 1.0,
} as const;

/**
 * The bundled models: what records call each, and the name by which it is loaded. The first is the
 * default one.
 */
export const SYSTEMS = {
  "emoji scenes": "emoji",
  "emoji, by class": "emoji-class",
  "emoji, by boxes": "emoji-layout",
  "emoji, by label map": "emoji-map",
  "emoji, four times as large": "emoji-upscale",
  "emoji, inpainting": "emoji-inpaint",
  "emoji, by neighbours": "emoji-neighbours",
  "emoji, in pixels": "emoji-pixels",
} as const;

/** The default model: its fingerprint, and the settings that it fills in. */
export const BUNDLED = {
  fingerprint: "6408c26c12dedd1741ccd3d97ac40618f9f96379b0e78698863a4bc230891d06",
  settings: {
    steps: 20,
    sampler: "dpmpp_2m",
    schedule: "trailing",
    guidance_scale: 3.0,
    width: 128,
    height: 128,
  },
} as const;

/** The panels of a viewer. */
export const PANELS = ["denoising", "attention", "tokens", "control"] as const;

/**
 * The tree of runs: what is shown of each, the most steps of a run that have a thumbnail, and the
 * characters of a run's name.
 */
export const BRANCHES = { views: ["picture", "difference"], thumbnails: 16, name: 100 } as const;

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

/** The states of a sweep. */
export const SWEEP_STATES = [
  "idle",
  "running",
  "pausing",
  "paused",
  "stopping",
  "done",
  "stopped",
  "error",
] as const;

/** The states of a sweep's points, each a byte of the trait ``cells``. */
export const CELL_STATES = ["waiting", "running", "done", "failed"] as const;

/**
 * What the kernel says of a sweep, and the fields of each kind. ``news``: the points whose images
 * are in the buffers, JPEGs; ``running`` has [point, steps done, steps] of each that runs.
 * ``point``: everything about one, with its image as the buffer if it has one: its settings in
 * words, its record, up to three lines of an error, a number for each score, whether a Studio is
 * open and whether its steps are kept. ``file``: a file to save. ``told``: what came of a request,
 * in words.
 */
export const SWEEP_SAYS = {
  hello: [],
  news: ["images", "running"],
  point: ["index", "about", "made", "error", "scores", "type", "studio", "whole"],
  file: ["name", "type"],
  told: ["message"],
} as const;

/**
 * The most images in an answer to a page, bytes of all images in the saved state, characters of an
 * error and of a label.
 */
export const SWEEP_LIMITS = { asked: 64, saved: 200000, error: 600, label: 200 } as const;

/** The kinds of messages that a page sends to the kernel. */
export const ASKS = {
  viewer: ["frames"],
  picture: ["hello", "ping"],
  studio: ["generate", "stop"],
  start: [
    "file",
    "take",
    "restore",
    "dismiss",
    "drop",
    "set",
    "settings",
    "unmask",
    "paint",
    "last",
    "word",
    "change",
  ],
  more: ["set"],
  low_res: ["file", "drop", "last"],
  neighbours: ["file", "use", "drop", "last", "off"],
  history: ["recall", "pin", "delete", "use", "compare", "open"],
  training: ["hello", "pause", "resume", "stop"],
  lab: ["file", "sample", "edit", "touch", "undo", "redo", "reset", "swap", "send"],
  branches: [
    "grow",
    "edit",
    "cost",
    "stop",
    "keep",
    "prune",
    "undo",
    "rename",
    "compare",
    "apart",
    "save",
    "file",
  ],
  painter: ["file", "mask", "undo", "redo", "pad", "threshold", "settle", "drop", "image"],
  label_map: ["file", "map", "undo", "redo", "drop", "image"],
  boxes: ["file", "boxes", "undo", "redo", "drop", "image"],
  walk: ["hello", "ping", "start", "stop", "save"],
  sweep: [
    "hello",
    "start",
    "pause",
    "resume",
    "stop",
    "look",
    "open",
    "compare",
    "apart",
    "use",
    "table",
    "sheet",
  ],
} as const;

/**
 * The most bytes of all images of a walk in the saved state, and of each; frames a second; the
 * animations that a page may ask for.
 */
export const WALK = {
  bytes: 3000000,
  still: 150000,
  fps: [1, 30],
  endings: [".webp", ".gif", ".mp4"],
} as const;

/**
 * The name of the comm target between JupyterLab's side panel and the default manager of a kernel,
 * and the version of its messages. When that manager first comes to be, the kernel registers the
 * target and opens a comm of that name, the announcement, with the data {v, version}. It stays
 * open, so comm_info_request lists it. A page opens a comm of its own, with the data {v, version};
 * that is its first hello, and it says nothing before the welcome (ipykernel warns in the notebook
 * of messages that overtake the opening). Each message is data with its ``kind``. Both sides ignore
 * kinds and fields that they do not know. A page says hello or watch at least every
 * ``SIDE_EVERY.alive``; the kernel closes comms that have been silent for long, and a page whose
 * comm was closed opens another while the kernel lives.
 */
export const SIDE = { target: "sdwidgets.manager", v: 1 } as const;

/**
 * The code that makes the default manager, and so the announcement, in a kernel without: to be
 * executed silently. It imports no torch and returns at once. Where the package is missing, the
 * reply is an error with the name ModuleNotFoundError.
 */
export const SIDE_CONNECT = "import sdwidgets; sdwidgets.connect()";

/**
 * What a page says, and the fields of each kind. ``hello``: is answered with welcome, jobs and
 * images, which are sent again when they change. ``watch``: whether memory is to be sent.
 * ``models``: send the models, and look into these folders, too (absolute or "~/..."); said again,
 * it looks again. ``load``, ``unload``: a model by its ``name``. ``stop``: a job by its id, or with
 * null or nothing the job that runs. ``move``: a job that waits to that place of the queue, 0 for
 * the next. ``image``: the file of an image by its id.
 */
export const SIDE_ASKS = {
  hello: ["v", "version"],
  watch: ["visible"],
  models: ["folders"],
  load: ["name"],
  unload: ["name"],
  stop: ["job"],
  move: ["job", "to"],
  image: ["id"],
} as const;

/**
 * What the kernel says, and the fields of each kind. ``welcome``: ``device`` is that of the loaded
 * models, "cpu", "cuda:0" or "mps"; "" as long as that is not known. ``jobs``: each as `SIDE_JOB`:
 * first the last ones that ended, oldest first, then the job that runs, then those that wait.
 * ``models``: each as `SIDE_MODEL`; ``done`` is false while more is found out. ``memory``: of the
 * device on which models are, else of the machine, in bytes: ``total`` and ``free``, and what this
 * ``process`` takes; null where it is not known. ``name``: the device's, for people. ``images``:
 * each as `SIDE_IMAGE`, the newest last, with as many buffers: a JPEG of each. ``image``: with a
 * single buffer, the PNG with its settings inside. ``refused``: what a page said, by its kind,
 * cannot be done; ``message`` is for people.
 */
export const SIDE_SAYS = {
  welcome: ["v", "version", "device"],
  jobs: ["jobs"],
  models: ["models", "done"],
  memory: ["device", "name", "total", "free", "process"],
  images: ["images"],
  image: ["id"],
  refused: ["about", "message"],
} as const;

/**
 * The fields of a job. ``id``: a number. ``model``: its name for people. ``prompt``: null if the
 * job only loads a model. ``state``: one of `JOB_STATES`. ``message``: what it is doing or how it
 * ended, or "". ``step``: how many of its ``steps`` are done; both 0 before it runs. ``seconds``:
 * since it began to run; ``eta``: until its end; each null where it is not known. ``ahead``: how
 * many jobs come before it.
 */
export const SIDE_JOB = [
  "id",
  "model",
  "prompt",
  "state",
  "message",
  "step",
  "steps",
  "seconds",
  "eta",
  "ahead",
] as const;

/** The states of a job. The last three are final. */
export const JOB_STATES = ["queued", "loading", "running", "done", "stopped", "error"] as const;

/**
 * The fields of a model. ``name``: what load and unload take; it may be a path, and is not shown.
 * ``title``: the name for people. ``place``: one of `MODEL_PLACES`. ``what``: what it is, in words,
 * or "". ``bytes``: of its weights, or null. ``state``: one of `MODEL_STATES`. ``why``: why it is
 * refused, how a part is used, why loading it failed, or "".
 */
export const SIDE_MODEL = ["name", "title", "place", "what", "bytes", "state", "why"] as const;

/**
 * Where a model is: in the package, in the hub's cache, in one of the folders, or in memory alone.
 */
export const MODEL_PLACES = ["bundled", "hub", "folder", "memory"] as const;

/**
 * The states of a model: its headers are being read, it can be loaded, it is no model but used with
 * one, it cannot be loaded, it is being loaded, it is in memory.
 */
export const MODEL_STATES = ["reading", "found", "part", "refused", "loading", "loaded"] as const;

/**
 * The fields of an image. ``id``: a number. ``name``: the name of the model that made it, as in
 * `SIDE_MODEL`. ``model``: that for people. ``seed``: null if it is not known. ``width``,
 * ``height``: in pixels. ``settings``: the record that its PNG has inside.
 */
export const SIDE_IMAGE = [
  "id",
  "prompt",
  "name",
  "model",
  "seed",
  "width",
  "height",
  "settings",
] as const;

/**
 * The least milliseconds between two messages of a kind (the last is always sent); ``memory``:
 * between all, while it is watched; ``alive``: the most between two of a page.
 */
export const SIDE_EVERY = {
  jobs: 100,
  models: 250,
  images: 250,
  memory: 2000,
  alive: 60000,
} as const;

/**
 * The most images, pixels along the longer side of their JPEGs, models, folders, jobs, jobs among
 * them that have ended, and characters of a text.
 */
export const SIDE_LIMITS = {
  images: 24,
  thumbnail: 160,
  models: 1000,
  folders: 32,
  jobs: 200,
  ended: 4,
  text: 2000,
} as const;

/**
 * The previews of a start image and of the noise on it: the most cells along a side, and how their
 * bytes stand for red, green and blue: ``(byte - zero) * scale``.
 */
export const BEGINNING = { cells: 48, scale: 0.03125, zero: 128 } as const;

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

/**
 * What a map does to the mask that is there. Pixels along the longer side of the image that is
 * saved, and the most of its bytes; pixels of a mask in a message; changes that can be undone, and
 * the bytes of all of them; pixels of new area on a side; pixels of a feathered edge, and across
 * the brush.
 */
export const PAINTER = {
  how: ["replace", "add", "subtract"],
  saved: 1024,
  bytes: 1500000,
  band: 4194304,
  undo: 100,
  history: 64000000,
  pad: 2048,
  feather: 200,
  brush: 1000,
} as const;

/**
 * The most boxes, if nothing else is said; changes that can be undone; the shortest side of a box
 * that is drawn, in fractions of the image; and the decimals of its corners.
 */
export const BOXES = { most: 30, undo: 100, least: 0.01, digits: 3 } as const;
