// The status bar: the job that runs, with its step. A click shows the panel.

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from "@jupyterlab/application";
import { IStatusBar } from "@jupyterlab/statusbar";
import { ITranslator } from "@jupyterlab/translation";
import { Signal } from "@lumino/signaling";
import { Widget } from "@lumino/widgets";
import { type Job, jobsOf, running } from "../../src/side/said";
import { diffusionIcon } from "./icons";
import "./status.css";
import { texts } from "./texts";
import { IKernels, IPreferences } from "./tokens";

/** Adds the item, which is there while a job runs. */
export const status: JupyterFrontEndPlugin<void> = {
  id: "sdwidgets:status",
  description: "The running job in the status bar.",
  autoStart: true,
  optional: [IKernels, IStatusBar, ITranslator, IPreferences],
  activate(
    app: JupyterFrontEnd,
    kernels: IKernels | null,
    bar: IStatusBar | null,
    translator: ITranslator | null,
    preferences: IPreferences | null,
  ) {
    if (kernels === null || bar === null) return;
    const trans = texts(translator, preferences);
    const { model } = kernels;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sdw-status-bar";
    button.addEventListener("click", () => app.shell.activateById("sdwidgets-panel"));
    const text = document.createElement("span");
    button.append(diffusionIcon.element({ tag: "span", height: "16px", width: "16px" }), text);
    const item = new Widget({ node: document.createElement("div") });
    item.node.append(button);

    let job: Job | undefined;
    const turned = new Signal<Widget, void>(item);
    const look = () => {
      const next = running(jobsOf(model.get("jobs")));
      const hasTurned = (next === undefined) !== (job === undefined);
      job = next;
      if (job !== undefined) {
        const step = job.steps > 0 ? `${job.step}/${job.steps}` : trans.__("loading");
        text.textContent = trans.__("Diffusion %1", step);
        button.title = [job.prompt || job.model, trans.__("Show the Diffusion panel")].join("\n");
      }
      if (hasTurned) turned.emit();
    };
    model.on("change:jobs", look);
    bar.registerStatusItem("sdwidgets:status", {
      item,
      align: "left",
      rank: 20,
      isActive: () => job !== undefined,
      activeStateChanged: turned,
    });
    look();
  },
};
