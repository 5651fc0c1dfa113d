// The left side panel: models, memory, queue and images of the kernel that is followed.

import {
  ILayoutRestorer,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin,
} from "@jupyterlab/application";
import { ITranslator } from "@jupyterlab/translation";
import type { Message } from "@lumino/messaging";
import { Widget } from "@lumino/widgets";
import { diffusionIcon } from "./icons";
import { type Texts, texts } from "./texts";
import { IKernels, IPreferences } from "./tokens";

const ID = "sdwidgets-panel";
const TOGGLE = "sdwidgets:toggle-panel";
const RANK = 350; // below JupyterLab's running kernels

/** Adds the panel, and the command that shows and hides it. */
export const panel: JupyterFrontEndPlugin<void> = {
  id: "sdwidgets:panel",
  description: "The side panel with models, memory, queue and images.",
  autoStart: true,
  optional: [IKernels, ILayoutRestorer, ITranslator, IPreferences],
  activate(
    app: JupyterFrontEnd,
    kernels: IKernels | null,
    restorer: ILayoutRestorer | null,
    translator: ITranslator | null,
    preferences: IPreferences | null,
  ) {
    if (kernels === null) return;
    const trans = texts(translator, preferences);
    const widget = new SidePanel(app, kernels, trans, preferences);
    app.shell.add(widget, "left", { rank: RANK, type: "Diffusion" });
    restorer?.add(widget, ID);

    // JupyterLab and Notebook 7 have it in their shells, which have no interface in common.
    const shell = app.shell as unknown as { collapseLeft?(): void };
    app.commands.addCommand(TOGGLE, {
      label: () => trans.__("Diffusion Panel"),
      caption: () => trans.__("Show or hide models, memory, queue and images"),
      icon: diffusionIcon,
      isToggleable: true,
      isToggled: () => widget.isVisible,
      execute: () => {
        if (widget.isVisible) shell.collapseLeft?.();
        else app.shell.activateById(ID);
      },
      describedBy: { args: { type: "object", properties: {} } },
    });
    widget.turned = () => app.commands.notifyCommandChanged(TOGGLE);
    if (preferences === null) return;
    void Promise.all([app.restored, preferences.ready]).then(() => {
      if (preferences.panelAtStart) app.shell.activateById(ID);
    });
  },
};

class SidePanel extends Widget {
  /** Called when it is shown or hidden. */
  turned: () => void = () => {};
  #leave: (() => void) | undefined;
  #begun = false;

  constructor(
    private readonly app: JupyterFrontEnd,
    private readonly kernels: IKernels,
    private readonly trans: Texts,
    private readonly preferences: IPreferences | null,
  ) {
    super();
    this.id = ID;
    this.addClass("jp-SidePanel");
    this.node.setAttribute("role", "region");
    this.node.setAttribute("aria-label", trans.__("Diffusion"));
    this.node.tabIndex = -1; // for the focus, until there is a button
    this.node.style.outline = "none";
    this.title.icon = diffusionIcon;
    this.title.caption = trans.__("Diffusion");
    preferences?.changed.connect(this.#tell, this);
    document.addEventListener("visibilitychange", this.#tell);
  }

  override dispose() {
    if (this.isDisposed) return;
    document.removeEventListener("visibilitychange", this.#tell);
    this.preferences?.changed.disconnect(this.#tell, this);
    this.#leave?.();
    super.dispose();
  }

  protected override onAfterShow(message: Message) {
    super.onAfterShow(message);
    this.#tell();
    this.turned();
    void this.#begin();
  }

  protected override onAfterHide(message: Message) {
    super.onAfterHide(message);
    this.#tell();
    this.turned();
  }

  protected override onActivateRequest() {
    const buttons = [...this.node.querySelectorAll("button")];
    (buttons.find((button) => button.offsetParent !== null) ?? this.node).focus();
  }

  /** Says whether it is looked at, so that a hidden panel costs the kernel nothing. */
  readonly #tell = () => {
    const { model } = this.kernels;
    model.set("visible", this.isVisible && document.visibilityState === "visible");
    model.set("folders", this.preferences?.modelFolders ?? []);
    model.save_changes();
    this.node.dataset.previews = this.preferences?.previews ?? "small";
  };

  /** Loads and draws the page code when it is first shown. */
  async #begin() {
    if (this.#begun) return;
    this.#begun = true;
    await this.preferences?.ready;
    const { draw } = await import("./side_panel");
    if (this.isDisposed) return;
    this.#leave = draw(this.app, this.kernels, this.node, this.trans);
    if (document.activeElement === this.node) this.onActivateRequest();
  }
}
