// The values of the settings, and how they are read from JSON that nobody has checked.

import { PANELS, SELECTION } from "../../src/lib/contract";

/** The names are those in schema/preferences.json, which describes them for people. */
export interface Values {
  /** The size of the images in the side panel. */
  previews: "off" | "small" | "large";
  /** The colour map of the heat maps of recorded runs. */
  colormap: "magma" | "viridis" | "grey";
  /** Whether the side panel is shown when JupyterLab starts. */
  panelAtStart: boolean;
  /** The panels of a recorded run that are open when it is opened. */
  recordPanels: readonly (typeof PANELS)[number][];
  /** The folders with models, on the machine of the kernel. */
  modelFolders: readonly string[];
  /** The language of the extension's own texts: JupyterLab's, or English. */
  language: "auto" | "en";
}

export const DEFAULTS: Values = {
  previews: "small",
  colormap: SELECTION.colormap.default,
  panelAtStart: false,
  recordPanels: PANELS,
  modelFolders: [],
  language: "auto",
};

/** The choices of a setting, for those that have some. */
export const CHOICES = {
  previews: ["off", "small", "large"],
  colormap: SELECTION.colormap.among,
  language: ["auto", "en"],
} as const;

const MOST_FOLDERS = 64;

/** Returns all settings, and the names of those whose value in `json` is bad. */
export function read(json: Record<string, unknown>): { values: Values; bad: (keyof Values)[] } {
  const values = { ...DEFAULTS };
  const bad: (keyof Values)[] = [];

  const take = <Name extends keyof Values>(name: Name, value: Values[Name] | undefined) => {
    if (value !== undefined) values[name] = value;
    else if (json[name] !== undefined) bad.push(name);
  };
  take("previews", among(CHOICES.previews, json.previews));
  take("colormap", among(CHOICES.colormap, json.colormap));
  take("language", among(CHOICES.language, json.language));
  take("panelAtStart", typeof json.panelAtStart === "boolean" ? json.panelAtStart : undefined);
  take("recordPanels", panels(json.recordPanels));
  take("modelFolders", folders(json.modelFolders));
  return { values, bad };
}

/** Returns the JSON of a setting's value. */
export function toJson<Name extends keyof Values>(name: Name, value: Values[Name]): unknown {
  if (name !== "recordPanels") return value;
  const open = value as Values["recordPanels"];
  return Object.fromEntries(PANELS.map((panel) => [panel, open.includes(panel)]));
}

/** Returns the names of the settings whose values differ. */
export function differing(one: Values, other: Values): (keyof Values)[] {
  const names = Object.keys(DEFAULTS) as (keyof Values)[];
  return names.filter((name) => JSON.stringify(one[name]) !== JSON.stringify(other[name]));
}

function among<T extends string>(choices: readonly T[], value: unknown): T | undefined {
  return choices.find((choice) => choice === value);
}

/** The editor has a checkbox for each panel, so JSON has a flag for each; without it, it is open. */
function panels(value: unknown): Values["recordPanels"] | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  const isFlag = ([name, flag]: [string, unknown]) =>
    (PANELS as readonly string[]).includes(name) && typeof flag === "boolean";
  if (!Object.entries(value).every(isFlag)) return undefined;
  return PANELS.filter((name) => (value as Record<string, boolean>)[name] !== false);
}

/** Trimmed, each once, without the empty line that the editor adds. */
function folders(value: unknown): Values["modelFolders"] | undefined {
  if (!Array.isArray(value) || value.length > MOST_FOLDERS) return undefined;
  if (value.some((path) => typeof path !== "string")) return undefined;
  return [...new Set(value.map((path: string) => path.trim()))].filter((path) => path !== "");
}
