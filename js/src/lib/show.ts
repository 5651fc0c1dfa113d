// What a stage gets beside what every panel gets: how the run is, and its final images.

import type { Binary } from "./bytes";
import type { IMAGE_TYPES, RUN_STATES } from "./contract";
import type { View } from "./view";

export type RunState = (typeof RUN_STATES)[number];
export interface Picture {
  data: Binary;
  type: (typeof IMAGE_TYPES)[number];
  prompt?: string;
  seed?: number | null;
  label?: string; // for those who cannot see it
}

/** What a stage shows beyond steps. */
export interface Show extends View {
  readonly state: RunState;
  readonly message: string;
  readonly pictures: readonly Picture[];
  readonly own: boolean; // they are of the run on show, and not of one before it
  readonly shape?: Shape | undefined; // of the images to come, where more is known than the header
}

/** Width and height. */
export type Shape = readonly [number, number];

/** Whether a run goes on. */
export const isActive = ({ state }: { state: RunState }) =>
  state === "running" || state === "loading";
