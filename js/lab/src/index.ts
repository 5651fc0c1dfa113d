// The plugins of the JupyterLab extension; each can be disabled alone.

import type { JupyterFrontEndPlugin } from "@jupyterlab/application";
import { preferences } from "./preferences";
import { records } from "./records";

const plugins: JupyterFrontEndPlugin<unknown>[] = [preferences, records];

export default plugins;
