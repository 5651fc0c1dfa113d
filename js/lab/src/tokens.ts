// What the plugins give one another. Each token has a plugin that provides it; all are optional,
// since each plugin can be disabled alone.

import { Token } from "@lumino/coreutils";
import type { ISignal } from "@lumino/signaling";
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
