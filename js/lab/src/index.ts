// The plugins of the JupyterLab extension; each can be disabled alone.

import type { JupyterFrontEndPlugin } from "@jupyterlab/application";
import { records } from "./records";

const plugins: JupyterFrontEndPlugin<unknown>[] = [records];

export default plugins;
