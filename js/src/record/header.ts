// The header of a run for the page, out of a record (trace/reel.py, trace/recipe.py).

import { DEFAULT_RECIPE, HEADER_VERSION, type PLACES, SD1_PREVIEW } from "../lib/contract";
import type { Header, Layer, Recipe } from "../lib/header";
import { times } from "../lib/numbers";
import { each, finalSize, seedsOf } from "./settings";
import type { Grid } from "./tensors";
import { wordsOf } from "./tokens";
import type { Unpacked } from "./unpacked";

/** The header; `factors` are the record's preview factors, if it has any. */
export function headerOf(
  record: Unpacked,
  run: number,
  factors: readonly number[] | undefined,
): Header {
  const { settings, steps, task, content } = record;
  const [first] = steps;
  const [, channels = 0, rows = 0, columns = 0] = content.shape;
  const known = settings.width !== null && settings.width > 0;
  const [width, height] = finalSize(settings);
  const isOwn = first !== undefined && !known; // steps of someone's own loop have no settings
  return {
    v: HEADER_VERSION,
    run,
    model: record.model,
    task,
    sampler: task ? (settings.sampler ?? "") : "",
    schedule: task ? settings.schedule : "",
    steps: record.expected || steps.length,
    guidance_scale: settings.guidance_scale ?? 1,
    guidance_rescale: settings.guidance_rescale,
    guided: record.negativeTokens.length > 0 || first?.parts.includes("difference") === true,
    width: isOwn ? columns : width,
    height: isOwn ? rows : height,
    factors: factors ? triples(factors) : first ? factorsFor(channels) : [],
    sigmas: [],
    schedule_sigmas: [...record.scheduleSigmas],
    ...layersOf(record),
    pictures: picturesOf(record),
    ...controlsOf(record),
    ...(record.parent && { parent: { how: record.parent.how, step: record.parent.step } }),
  };
}

/** The controls, and the levels that they are recorded for; nothing for a run without any. */
function controlsOf(record: Unpacked): Partial<Header> {
  if (record.controls.length === 0) return {};
  const names = [...addedOf(record).keys()];
  return { controls: record.controls.map((one) => ({ ...one })), levels: labelsOf(names) };
}

/** The levels at which what controls add is recorded; none where no step has it. */
export function addedOf({ steps, content }: Unpacked): ReadonlyMap<string, Grid> {
  const has = steps.some(({ parts }) => parts.includes("control"));
  return (has ? content.grids.get("control") : undefined) ?? new Map();
}

type Triple = [number, number, number];

const triples = (values: readonly number[]): Triple[] =>
  times(values.length / 3, (i) => values.slice(3 * i, 3 * i + 3) as Triple);

/** [channels + 1]: preview factors for a model that has none. */
function factorsFor(channels: number): Triple[] {
  if (channels === 4) return SD1_PREVIEW.map((row) => row.map(Math.fround) as Triple);
  return times(channels + 1, (row) => times(3, (i) => (i === row ? 0.5 : 0)) as Triple);
}

/** The recorded layers of cross-attention; none where no step has it. */
export function crossOf({ steps, content }: Unpacked): ReadonlyMap<string, Grid> {
  const has = steps.some(({ parts }) => parts.includes("attention.cross"));
  return (has ? content.grids.get("cross") : undefined) ?? new Map();
}

type Place = (typeof PLACES)[number];

const placeOf = (layer: string) => layer.split("_")[0] as Place;

/** Short names: "down 1", "down 2", "mid", ..., numbered within each place. */
function labelsOf(names: readonly string[]): string[] {
  const places = names.map(placeOf);
  return places.map((place, i) => {
    const before = places.slice(0, i + 1).filter((one) => one === place).length;
    return places.filter((one) => one === place).length > 1 ? `${place} ${before}` : place;
  });
}

/** The layers, and which of them count in a heat map. */
function layersOf(record: Unpacked): { layers: Layer[]; recipe: Recipe } {
  const grids = crossOf(record);
  const names = [...grids.keys()];
  const labels = labelsOf(names);
  const layers = names.map(
    (name, i): Layer => ({ name, label: labels[i] as string, place: placeOf(name) }),
  );
  const { steps, places, cells } = DEFAULT_RECIPE;
  const at = names.map((_, i) => i);
  const fits = at.filter((i) => (places as readonly string[]).includes(layers[i]?.place ?? ""));
  const off = (i: number) => {
    const [h, w] = grids.get(names[i] as string) as Grid;
    return Math.abs(Math.log((h * w) / cells));
  };
  const least = Math.min(...fits.map(off));
  const chosen = fits.filter((i) => off(i) === least);
  const recipe: Recipe = {
    layers: chosen.length > 0 ? chosen : at,
    steps: [...steps],
    against: "none",
  };
  return { layers, recipe };
}

function picturesOf({ tokens, settings }: Unpacked): Header["pictures"] {
  const batch = settings.batch_size;
  const negative = each(settings.negative_prompt, batch);
  const seeds = seedsOf(settings) ?? times(batch, () => 0);
  const count = Math.min(tokens.length, negative.length, seeds.length);
  return tokens.slice(0, count).map((one, i) => ({
    prompt: one.prompt,
    negative_prompt: negative[i] as string,
    seed: seeds[i] as number,
    slots: one.slots,
    cut: one.cut,
    pieces: [...one.pieces],
    words: wordsOf(one),
    ...Object.fromEntries(
      (["places", "weights", "learnt", "padding"] as const)
        .filter((name) => one[name].length > 0)
        .map((name) => [name, [...one[name]]]),
    ),
  }));
}
