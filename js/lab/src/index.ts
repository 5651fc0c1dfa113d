// The plugins of the JupyterLab extension; each can be disabled alone.

import type { JupyterFrontEndPlugin } from "@jupyterlab/application";
import { commands } from "./commands";
import { drops } from "./drops";
import { kernels } from "./kernels";
import { panel } from "./panel";
import { preferences } from "./preferences";
import { records } from "./records";
import { settingsOfImages } from "./settings_of_images";
import { status } from "./status";

const plugins: JupyterFrontEndPlugin<unknown>[] = [
  commands,
  preferences,
  kernels,
  panel,
  status,
  records,
  settingsOfImages,
  drops,
];

export default plugins;
