// Follows the notebook or console that was active last, and the manager of its kernel.

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from "@jupyterlab/application";
import { IConsoleTracker } from "@jupyterlab/console";
import { INotebookTracker } from "@jupyterlab/notebook";
import { ITranslator } from "@jupyterlab/translation";
import { stopIcon } from "@jupyterlab/ui-components";
import { Signal } from "@lumino/signaling";
import type { Widget } from "@lumino/widgets";
import { jobsOf, running } from "../../src/side/said";
import { FollowedModel, type Session } from "./followed";
import { texts } from "./texts";
import { IKernels, IPreferences } from "./tokens";

const STOP = "sdwidgets:stop";

type Open = Widget & { sessionContext: Session };

class Kernels implements IKernels {
  readonly followedChanged: Signal<IKernels, Widget | null> = new Signal(this);
  readonly #followed = new FollowedModel();
  #widget: Open | null = null;

  constructor(
    private readonly app: JupyterFrontEnd,
    private readonly trackers: readonly (INotebookTracker | IConsoleTracker)[],
  ) {
    for (const tracker of trackers) {
      tracker.currentChanged.connect(this.#look);
      (tracker as INotebookTracker).widgetAdded.connect((_, widget) => this.#meet(widget));
    }
    app.shell.currentChanged?.connect(this.#look);
    void app.restored.then(this.#look);
    window.addEventListener("pagehide", () => this.#followed.close());
  }

  get model() {
    return this.#followed as unknown as IKernels["model"];
  }

  get followed() {
    return this.#widget;
  }

  /** Every kernel is listened to, so that JupyterLab does not refuse its announcement. */
  #meet(widget: Open) {
    const know = () => this.#followed.know(widget.sessionContext.session?.kernel);
    widget.sessionContext.kernelChanged.connect(know);
    know();
    widget.title.changed.connect(() => widget === this.#widget && this.#followed.look());
    widget.disposed.connect(this.#look);
  }

  readonly #look = () => {
    const { currentWidget } = this.app.shell;
    if (this.trackers.some((tracker) => currentWidget && tracker.has(currentWidget))) {
      this.#follow(currentWidget as Open);
    } else if (this.#widget === null || this.#widget.isDisposed) {
      const others = this.trackers.map((tracker) => tracker.currentWidget as Open | null);
      this.#follow(others.find((other) => other && !other.isDisposed) ?? null);
    }
  };

  #follow(widget: Open | null) {
    if (widget === this.#widget) return;
    this.#widget = widget;
    this.#followed.follow(widget?.sessionContext, () => widget?.title.label ?? "");
    this.followedChanged.emit(widget);
  }
}

/** Provides the kernel that is followed, and the command that stops its run. */
export const kernels: JupyterFrontEndPlugin<IKernels> = {
  id: "sdwidgets:kernels",
  description: "Follows the kernel of the active notebook or console.",
  autoStart: true,
  provides: IKernels,
  optional: [INotebookTracker, IConsoleTracker, ITranslator, IPreferences],
  activate(
    app: JupyterFrontEnd,
    notebooks: INotebookTracker | null,
    consoles: IConsoleTracker | null,
    translator: ITranslator | null,
    preferences: IPreferences | null,
  ): IKernels {
    const trans = texts(translator, preferences);
    const made = new Kernels(
      app,
      [notebooks, consoles].filter((tracker) => tracker !== null),
    );
    const runs = () => running(jobsOf(made.model.get("jobs"))) !== undefined;
    app.commands.addCommand(STOP, {
      label: () => trans.__("Stop Diffusion Run"),
      caption: () => trans.__("Stop the run of the kernel of the active notebook or console"),
      icon: stopIcon,
      isEnabled: runs,
      execute: () => made.model.send({ kind: "stop", job: null }),
      describedBy: { args: { type: "object", properties: {} } },
    });
    let ran = false;
    made.model.on("change:jobs", () => {
      if (ran === runs()) return;
      ran = !ran;
      app.commands.notifyCommandChanged(STOP);
    });
    return made;
  },
};
