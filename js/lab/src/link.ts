// The comm between this page and the manager of a kernel, for as long as the kernel's connection is
// there.
//
// JupyterLab's own comms are not used for it. Of several connections to a kernel (a notebook and
// its console) only one may handle comms, and a page that was reloaded while a cell runs knows
// nothing of subshells until the cell ends. So the messages are sent and read as they are.

import type { Kernel, KernelMessage } from "@jupyterlab/services";
import { UUID } from "@lumino/coreutils";
import { SIDE, SIDE_CONNECT, SIDE_EVERY } from "../../src/lib/contract";
import type { Side } from "../../src/side/view";

/** What is used of a kernel's connection. */
export type Connection = Pick<
  Kernel.IKernelConnection,
  | ("id" | "clientId" | "username" | "status" | "connectionStatus" | "info" | "isDisposed")
  | ("iopubMessage" | "statusChanged" | "connectionStatusChanged" | "disposed")
  | ("sendShellMessage" | "sendControlMessage" | "requestExecute" | "registerCommTarget")
> & { commsOverSubshells?: string };

/** The traits that the kernel's manager decides. */
export type Heard = Pick<
  Side,
  | ("v" | "version" | "device" | "jobs" | "models" | "done" | "memory" | "images" | "refused")
  | ("begun" | "problem" | "reachable")
> & { manager: "unknown" | "absent" | "linked" };

const NOTHING: Heard = {
  manager: "unknown",
  begun: "",
  problem: "",
  reachable: false,
  v: 0,
  version: "",
  device: "",
  jobs: [],
  models: [],
  done: false,
  memory: undefined,
  images: [],
  refused: undefined,
};

const ALIVE = 0.7 * SIDE_EVERY.alive; // ms between two signs of life
const AGAIN = 1000; // ms before a comm that the kernel has closed is opened again
const RESTARTS: readonly Kernel.Status[] = ["restarting", "autorestarting"];

type Message = { kind: string } & Record<string, unknown>;
type Content = Record<string, unknown>;

/** What a page says of itself when it opens a comm. */
const HELLO = { v: SIDE.v, version: "" };

export class Link {
  /** What the kernel has said. */
  heard: Heard = NOTHING;
  #comm: string | undefined; // the id of this page's comm, while it is open
  #welcome = false; // whether the kernel has answered its opening
  #subshell: string | null = null;
  #wanted = false; // once followed, it stays open
  #visible = false;
  #folders: readonly string[] | undefined; // undefined: nobody has looked at the models
  #turn = 0; // counts attempts: an answer to an earlier attempt is no answer
  #looking = -1; // the attempt that is under way
  #alive: ReturnType<typeof setInterval> | undefined;
  #again: ReturnType<typeof setTimeout> | undefined;
  #removed = false;

  /**
   * `changed` is called with the names of what the kernel has changed, `told` with messages that
   * are no state.
   */
  constructor(
    private readonly kernel: Connection,
    private readonly changed: (names: (keyof Heard)[]) => void,
    private readonly told: (message: Message, buffers: readonly unknown[]) => void,
  ) {
    kernel.iopubMessage.connect(this.#hear);
    kernel.statusChanged.connect(this.#statusChanged);
    kernel.connectionStatusChanged.connect(this.#connectionChanged);
    kernel.disposed.connect(this.remove, this);
    // Without a target of this name, JupyterLab would close the kernel's announcement.
    kernel.registerCommTarget(SIDE.target, (comm) => {
      const { subshellStarted } = comm as { subshellStarted?: Promise<void> };
      subshellStarted?.then(
        () => comm.dispose(), // with the thread that JupyterLab has started for it
        () => {},
      );
    });
  }

  /** Finds the manager, if the kernel has one, and stays in touch with it. */
  follow() {
    this.#wanted = true;
    if (this.heard.manager === "unknown") this.look();
  }

  /** Whether memory and models are looked at, and the folders that have models, too. */
  watch(visible: boolean, folders: readonly string[]) {
    const isNew = String(folders) !== String(this.#folders);
    if (visible === this.#visible && (!visible || !isNew)) return;
    this.#visible = visible;
    this.#say({ kind: "watch", visible });
    if (!visible || !isNew) return;
    this.#folders = folders;
    this.#say({ kind: "models", folders: [...folders] });
  }

  /** Says something to the manager. */
  send(message: Message) {
    if (this.heard.refused !== undefined) this.#set({ refused: undefined });
    const folders = [...(this.#folders ?? [])];
    this.#say(message.kind === "models" ? { ...message, folders } : message);
  }

  /** Makes the manager, by the code that contract.py has for it. */
  async begin() {
    if (this.heard.begun === "asked") return;
    this.#set({ begun: "asked", problem: "" });
    const turn = this.#turn;
    const code = { code: SIDE_CONNECT, silent: true, store_history: false, stop_on_error: false };
    try {
      const { content } = await this.kernel.requestExecute(code).done;
      if (turn !== this.#turn || this.heard.manager === "linked") return;
      if (content.status === "ok") return this.look();
      const { ename, evalue } = content as unknown as Record<string, string>;
      if (ename === "ModuleNotFoundError") return this.#set({ begun: "missing" });
      this.#set({ begun: "failed", problem: `${ename}: ${evalue}`.slice(0, 500) });
    } catch {
      this.#set({ begun: "" }); // the kernel ended meanwhile, which its status says
    }
  }

  /** Asks the kernel whether it has a manager, which imports nothing and runs nothing. */
  async look() {
    if (this.#looking === this.#turn) return; // an attempt is under way; each ends with an idle
    const turn = this.#begin();
    const mine = this.#comm;
    const asked = { target_name: SIDE.target };
    // Some kernels answer on the shell's channel alone, which waits for the cell.
    const comms = await Promise.any([
      this.#ask("comm_info_request", asked, "control"),
      this.#ask("comm_info_request", asked, "shell"),
    ]).then(
      (content) => Object(content.comms) as Content,
      () => undefined,
    );
    if (turn !== this.#turn) return;
    this.#looking = -1;
    if (comms === undefined) return;
    const data = { kind: "hello", ...HELLO };
    if (mine !== undefined && mine in comms) return this.#post("comm_msg", { comm_id: mine, data });
    if (Object.keys(comms).length > 0) return this.#open();
    const { begun } = this.heard;
    this.#lose();
    this.#set({ manager: "absent", begun: begun === "asked" ? "" : begun });
  }

  /** Closes this page's comm: the page goes. */
  close() {
    if (this.#comm === undefined) return;
    this.#post("comm_close", { comm_id: this.#comm, data: {} });
    this.#comm = undefined;
  }

  remove() {
    if (this.#removed) return;
    this.#removed = true;
    this.#lose();
    this.kernel.iopubMessage.disconnect(this.#hear);
    this.kernel.statusChanged.disconnect(this.#statusChanged);
    this.kernel.connectionStatusChanged.disconnect(this.#connectionChanged);
  }

  // ------------------------------------------------------------------------------- the messages

  #message(type: string, channel: "shell" | "control", content: Content) {
    return {
      ...{ channel, content, buffers: [], metadata: {}, parent_header: {} },
      header: {
        date: new Date().toISOString(),
        msg_id: UUID.uuid4(),
        msg_type: type,
        session: this.kernel.clientId,
        username: this.kernel.username,
        version: "5.2",
        subshell_id: channel === "shell" ? this.#subshell : null,
      },
    };
  }

  /** Sends a message that has no reply. */
  #post(type: "comm_open" | "comm_msg" | "comm_close", content: Content) {
    const message = this.#message(type, "shell", content);
    try {
      this.kernel.sendShellMessage(message as unknown as KernelMessage.IShellMessage);
    } catch {
      // the kernel is dead, which its status says
    }
  }

  /** Sends a request and returns its reply. The control channel is free while a cell runs. */
  async #ask(type: string, content: Content, channel: "control" | "shell"): Promise<Content> {
    const message = this.#message(type, channel, content) as unknown;
    const future =
      channel === "control"
        ? this.kernel.sendControlMessage(message as KernelMessage.IControlMessage, true)
        : this.kernel.sendShellMessage(message as KernelMessage.IShellMessage, true);
    const reply = await new Promise<unknown>((found, failed) => {
      future.onReply = (message: KernelMessage.IMessage) => found(message.content);
      future.done.catch(failed);
    });
    return Object(reply) as Content;
  }

  /** Nothing before the welcome: ipykernel complains in the notebook of what overtakes the opening. */
  #say(message: Message) {
    if (this.#comm === undefined || !this.#welcome) return;
    this.#post("comm_msg", { comm_id: this.#comm, data: message });
  }

  // ------------------------------------------------------------------------------------ the comm

  /** A new attempt; what is under way counts no more. */
  #begin(): number {
    clearTimeout(this.#again);
    this.#looking = ++this.#turn;
    return this.#turn;
  }

  async #open() {
    const turn = this.#begin();
    const subshell = await this.#thread().catch(() => null);
    if (turn !== this.#turn) return;
    this.#looking = -1;
    this.#subshell = subshell;
    this.#comm = UUID.uuid4();
    this.#welcome = false;
    const content = { comm_id: this.#comm, target_name: SIDE.target, data: HELLO };
    this.#post("comm_open", content); // the first hello
    clearInterval(this.#alive);
    this.#alive = setInterval(() => this.#say({ kind: "watch", visible: this.#visible }), ALIVE);
    this.#set({ reachable: subshell !== null });
  }

  /** Says what this page looks at, which the kernel does not know or may have missed. */
  #tell() {
    this.#say({ kind: "watch", visible: this.#visible });
    if (this.#folders) this.#say({ kind: "models", folders: [...this.#folders] });
  }

  /** A subshell of the kernel, which answers while a cell runs; null where there are none. */
  async #thread(): Promise<string | null> {
    if (this.#subshell !== null) return this.#subshell;
    if (this.kernel.commsOverSubshells === "disabled") return null; // a setting of JupyterLab
    // The connection asked for it, too, and waits for the cell.
    const { supported_features: features } = await Promise.any([
      this.kernel.info as Promise<unknown> as Promise<Content>,
      this.#ask("kernel_info_request", {}, "control"),
    ]);
    if (!Array.isArray(features) || !features.includes("kernel subshells")) return null;
    const { subshell_id } = await this.#ask("create_subshell_request", {}, "control");
    return typeof subshell_id === "string" ? subshell_id : null;
  }

  /** The comm is gone, and all that was known. */
  #lose() {
    this.#turn++;
    this.#comm = undefined;
    clearInterval(this.#alive);
    clearTimeout(this.#again);
    this.#set(NOTHING);
  }

  #set(values: Partial<Heard>) {
    const names = (Object.keys(values) as (keyof Heard)[]).filter(
      (name) => values[name] !== this.heard[name],
    );
    if (names.length === 0) return;
    this.heard = { ...this.heard, ...values };
    if (!this.#removed) this.changed(names);
  }

  // --------------------------------------------------------------------------------- the kernel

  readonly #statusChanged = (_: unknown, status: Kernel.Status) => {
    if (RESTARTS.includes(status) || status === "dead") {
      this.#subshell = null;
      this.#lose();
    } else if (this.#wanted && this.heard.manager === "unknown" && this.#comm === undefined) {
      if (status === "idle") this.look(); // it has begun, or begun again
    }
  };

  readonly #connectionChanged = (_: unknown, status: Kernel.ConnectionStatus) => {
    this.#turn++; // what was asked before may never be answered
    if (status === "connected" && this.#wanted) this.look();
  };

  readonly #hear = (_: unknown, message: KernelMessage.IIOPubMessage) => {
    const type: string = message.header.msg_type;
    const content = message.content as unknown as Content;
    if (type === "comm_open" && content.target_name === SIDE.target) {
      if (this.#wanted && this.#comm === undefined) this.#open();
    } else if (this.#comm === undefined || content.comm_id !== this.#comm) {
      return;
    } else if (type === "comm_msg") {
      this.#take(Object(content.data) as Message, message.buffers ?? []);
    } else if (type === "comm_close") {
      this.#lose();
      this.#again = setTimeout(() => this.look(), AGAIN);
    }
  };

  #take(message: Message, buffers: readonly unknown[]) {
    const text = (value: unknown) => (typeof value === "string" ? value : "");
    switch (message.kind) {
      case "welcome": {
        const v = Number.isInteger(message.v) ? (message.v as number) : 0;
        const { version, device } = message;
        const known = { v, version: text(version), device: text(device) };
        this.#welcome = true;
        this.#tell();
        return this.#set({ manager: "linked", begun: "", problem: "", ...known });
      }
      case "jobs":
        return this.#set({ jobs: message.jobs });
      case "models":
        return this.#set({ models: message.models, done: message.done });
      case "memory":
        return this.#set({ memory: message });
      case "images": {
        const images = Array.isArray(message.images) ? message.images : [];
        return this.#set({
          images: images.map((image, i) => ({ ...Object(image), thumbnail: buffers[i] })),
        });
      }
      case "refused":
        return this.#set({
          refused: { about: text(message.about), message: text(message.message) },
        });
      default:
        return this.told(message, buffers);
    }
  }
}
