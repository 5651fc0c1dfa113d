// What a stage gets in addition to a panel's view: the state of the run and its final images.

import type { Binary } from "./bytes";
import type { IMAGE_TYPES, RUN_STATES } from "./contract";
import type { View } from "./view";

export type RunState = (typeof RUN_STATES)[number];
export interface Picture {
  data: Binary;
  type: (typeof IMAGE_TYPES)[number];
  prompt?: string;
  seed?: number | null;
  label?: string; // for screen readers
}

/** What a stage shows besides steps. */
export interface Show extends View {
  readonly state: RunState;
  readonly message: string;
  readonly pictures: readonly Picture[];
  readonly own: boolean; // the images belong to the run on show, not to an earlier one
  lost?: boolean; // the kernel is gone, and the run with it
  readonly shape?: Shape | undefined; // of the images to come, if known before the header
}

/** Width and height. */
export type Shape = readonly [number, number];

/** Whether a run is going on. */
export const isActive = ({ state }: { state: RunState }) =>
  state === "running" || state === "loading";
