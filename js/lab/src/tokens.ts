// What the plugins give one another. Each token has a plugin that provides it; all are optional,
// since each plugin can be disabled alone.

import type { AnyModel } from "@anywidget/types";
import type { IWidgetTracker } from "@jupyterlab/apputils";
import { Token } from "@lumino/coreutils";
import type { ISignal } from "@lumino/signaling";
import type { Widget } from "@lumino/widgets";
import type { Side } from "../../src/side/view";
import type { RecordDocument } from "./documents/record";
import type { Values } from "./values";

// ------------------------------------------------------------------------------------ preferences

/** The settings of the extension, checked: a bad value counts as its default. */
export interface IPreferences extends Readonly<Values> {
  /** Fulfilled when the settings are read or refused; before that, all are at their defaults. */
  readonly ready: Promise<void>;
  /** Emitted with the name of each setting that has changed, also by a person in the editor. */
  readonly changed: ISignal<IPreferences, keyof Values>;
  /** Saves a setting, as if it had been changed in the editor. */
  set<Name extends keyof Values>(name: Name, value: Values[Name]): Promise<void>;
}

export const IPreferences = new Token<IPreferences>(
  "sdwidgets:IPreferences",
  "The settings of the extension.",
);

// ---------------------------------------------------------------------------------------- kernels

/** What is followed: the notebook or console that was active last, and its kernel. */
export interface IKernels {
  /** What the manager of that kernel does, for the page code: the same object for all kernels. */
  readonly model: AnyModel<Followed>;
  /** The notebook or console; null if none was active, or it is closed. */
  readonly followed: Widget | null;
  /** Emitted when another one is followed. */
  readonly followedChanged: ISignal<IKernels, Widget | null>;
}

/** The traits of the model, and what this page says of itself. */
export interface Followed extends Side {
  visible: boolean; // whether the panel is looked at: then memory and models are, too
  folders: readonly string[]; // with models
}

export const IKernels = new Token<IKernels>(
  "sdwidgets:IKernels",
  "The kernel of the active notebook or console, and what its model manager does.",
);

// ---------------------------------------------------------------------------------- recorded runs

/** The open documents of recorded runs. */
export type IRecords = IWidgetTracker<RecordDocument>;

export const IRecords = new Token<IRecords>("sdwidgets:IRecords", "The open recorded runs.");
