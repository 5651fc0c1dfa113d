// The settings of the extension, as JupyterLab keeps them, in a typed view.

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from "@jupyterlab/application";
import { Notification } from "@jupyterlab/apputils";
import { ISettingRegistry } from "@jupyterlab/settingregistry";
import { ITranslator } from "@jupyterlab/translation";
import type { PartialJSONValue } from "@lumino/coreutils";
import { Signal } from "@lumino/signaling";
import { texts } from "./texts";
import { IPreferences } from "./tokens";
import { DEFAULTS, differing, read, toJson, type Values } from "./values";

const ID = "sdwidgets:preferences"; // its schema is schema/preferences.json

/** Provides the settings. */
export const preferences: JupyterFrontEndPlugin<IPreferences> = {
  id: ID,
  description: "Provides the settings of the extension.",
  autoStart: true,
  provides: IPreferences,
  requires: [ISettingRegistry],
  optional: [ITranslator],
  activate(_app: JupyterFrontEnd, registry: ISettingRegistry, translator: ITranslator | null) {
    return new Preferences(registry, (held) => {
      // JupyterLab reads no value of such a file, and writes to the console what is wrong in it.
      const message = texts(translator, held).__(
        "The settings of Diffusion have a value that is not allowed. All of them are at their defaults until it is corrected in the file preferences.jupyterlab-settings.",
      );
      Notification.warning(message, { autoClose: false });
    });
  },
};

class Preferences implements IPreferences {
  readonly ready: Promise<void>;
  readonly changed: Signal<IPreferences, keyof Values> = new Signal(this);
  #values = DEFAULTS;

  constructor(
    private readonly registry: ISettingRegistry,
    refused: (held: IPreferences) => void,
  ) {
    const taken = (settings: ISettingRegistry.ISettings) => {
      this.#take(settings);
      settings.changed.connect(this.#take, this);
    };
    this.ready = registry.load(ID).then(taken, () => refused(this));
  }

  get previews() {
    return this.#values.previews;
  }

  get colormap() {
    return this.#values.colormap;
  }

  get panelAtStart() {
    return this.#values.panelAtStart;
  }

  get recordPanels() {
    return this.#values.recordPanels;
  }

  get modelFolders() {
    return this.#values.modelFolders;
  }

  get language() {
    return this.#values.language;
  }

  async set<Name extends keyof Values>(name: Name, value: Values[Name]): Promise<void> {
    await this.registry.set(ID, name, toJson(name, value) as PartialJSONValue);
  }

  #take(settings: ISettingRegistry.ISettings): void {
    const { values, bad } = read(settings.composite);
    for (const name of bad) console.warn(`${ID}: the value of ${name} is not allowed`);
    const changed = differing(this.#values, values);
    this.#values = values;
    for (const name of changed) this.changed.emit(name);
  }
}
