// What every panel of a viewer gets: the data so far and the selection. A panel is a function
// (view: View) => Panel and asks the kernel for nothing.

import type { Header } from "./header";
import { clamp, times } from "./numbers";
import type { Frame } from "./reel";
import type { Selection } from "./selection";

export type { Control, Header, ImageHeader } from "./header";
export type { Selection } from "./selection";

/** Where the pointer is, in this page only. */
export interface Hover {
  word?: string;
  cell?: { x: number; y: number }; // 0..1 of the image's width and height
}

/** The frames of one run that this page has so far. */
export interface Reel {
  readonly header: Header | undefined;
  readonly frames: readonly Frame[]; // kept ones, in the order of the steps
  readonly version: number; // changes with the data
  at(step: number): Frame | undefined; // the nearest kept; -1: the newest
  /** The indices of all steps, where they are known before the steps are there; sorted. */
  readonly coming?: readonly number[] | undefined;
}

export type What = "data" | "selection" | "hover";

export interface View {
  readonly reel: Reel;
  readonly selection: Selection;
  readonly hover: Hover;
  select(change: Partial<Selection>): void; // sets the traits and saves them
  peek(hover: Hover): void;
  onChange(listener: (what: What) => void): () => void; // returns the cleanup
}

export interface Panel {
  readonly element: HTMLElement;
  update(what: What): void;
  remove?(): void;
}

/** How many images the run makes at once. */
export function batchOf({ reel }: View): number {
  return reel.frames[0]?.size[0] ?? Math.max(reel.header?.pictures.length ?? 0, 1);
}

/** The indices of all of them. */
export const allImages = (view: View) => times(batchOf(view), (i) => i);

/** The index of the image on show. */
export function imageOf(view: View): number {
  return clamp(Math.round(view.selection.picture), 0, batchOf(view) - 1);
}

/** The guidance scale chosen; null for the run's own, which is also used if no other is possible. */
export function guidanceOf(view: View): number | null {
  return (view.reel.header?.guidance_rescale ?? 0) > 0 ? null : view.selection.guidance;
}

/** The indices of the steps that can be shown, also of those that are still to be read. */
export const stepsOf = ({ coming, frames }: Reel): readonly number[] =>
  coming ?? frames.map(({ index }) => index);

/** The place of the step nearest to `step` among all, the earlier of two; -1: the newest. */
export function placeOf(reel: Reel, step: number): number {
  const all = stepsOf(reel);
  if (step < 0) return all.length - 1;
  const off = all.map((index) => Math.abs(index - step));
  return off.indexOf(Math.min(...off));
}

/** Shows the step nearest to `wanted`. The newest is followed, and gives way to the image at the
 * end of the run. */
export function showStep(view: View, wanted: number) {
  const all = stepsOf(view.reel);
  const found = all[placeOf(view.reel, wanted)];
  if (found === undefined) return;
  const step = found === all.at(-1) ? -1 : found;
  if (step !== view.selection.step) view.select({ step });
}
