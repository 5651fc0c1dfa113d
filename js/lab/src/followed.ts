// The model of the side panel: what is known of the kernel that is followed, whichever it is.

import type { ISessionContext } from "@jupyterlab/apputils";
import type { Kernel } from "@jupyterlab/services";
import { SIDE_LIMITS } from "../../src/lib/contract";
import type { Link as Where } from "../../src/side/said";
import type { Said } from "../../src/side/view";
import { type Connection, type Heard, Link } from "./link";
import type { Followed } from "./tokens";

/** What is used of a notebook's or console's session. */
export type Session = Pick<
  ISessionContext,
  | ("session" | "kernelDisplayStatus" | "kernelDisplayName" | "specsManager")
  | ("kernelChanged" | "statusChanged" | "connectionStatusChanged" | "sessionChanged")
>;

type Handler = (...values: unknown[]) => void;
type Own = Pick<Followed, "link" | "busy" | "place" | "kernel" | "chosen" | "visible" | "folders">;

const HEARD: readonly (keyof Heard)[] = [
  ...(["v", "version", "device", "jobs", "models", "done", "memory", "images", "refused"] as const),
  ...(["begun", "problem", "reachable"] as const),
];
const EMPTY: Partial<Heard> = {
  ...{ v: 0, version: "", device: "", jobs: [], models: [], done: false, images: [] },
  ...{ begun: "", problem: "", reachable: false },
};

const STATES: Partial<Record<ISessionContext.KernelDisplayStatus, Where>> = {
  initializing: "starting",
  starting: "starting",
  restarting: "restarting",
  autorestarting: "restarting",
  connecting: "connecting",
  disconnected: "disconnected",
  terminating: "dead",
  dead: "dead",
};

/** A widget's model, as far as the page code needs it. */
export class FollowedModel {
  readonly #handlers = new Map<string, Set<Handler>>();
  readonly #links = new WeakMap<object, Link>();
  #session: Session | undefined;
  #name: () => string = () => "";
  #linkedTo: Connection | undefined;
  #own: Own = {
    ...{ link: "nothing", busy: false, place: "", kernel: "", chosen: 0 },
    ...{ visible: false, folders: [] },
  };
  #asked = new Map<string, unknown>(); // what the page has set but not saved

  /** Follows a session, or nothing. `name` is how people call it. */
  follow(session: Session | undefined, name: () => string) {
    this.#name = name;
    if (session !== this.#session) {
      this.#listen("disconnect");
      this.#session = session;
      this.#listen("connect");
    }
    this.look();
  }

  /** Hears a kernel's announcement, though nobody follows it. */
  know(kernel: Connection | null | undefined) {
    if (kernel && !kernel.isDisposed) this.#linkOf(kernel);
  }

  /** Closes the comm to the kernel: the page goes. */
  close() {
    this.#link?.close();
  }

  // ------------------------------------------------------------------------------------ a model

  get<Name extends keyof Followed>(name: Name): Followed[Name] {
    if (this.#asked.has(name)) return this.#asked.get(name) as Followed[Name];
    if (name in this.#own) return this.#own[name as keyof Own] as Followed[Name];
    const heard = this.#link?.heard ?? EMPTY;
    return heard[name as keyof Heard] as Followed[Name];
  }

  set(name: keyof Followed, value: unknown) {
    this.#asked.set(name, value);
  }

  save_changes() {
    const { visible, folders } = Object.fromEntries(this.#asked) as Partial<Followed>;
    this.#asked.clear();
    if (visible !== undefined) this.#own.visible = visible;
    if (folders !== undefined) this.#own.folders = folders.slice(0, SIDE_LIMITS.folders);
    this.#link?.watch(this.#own.visible, this.#own.folders);
  }

  on(name: string, handler: Handler) {
    this.#handlers.set(name, (this.#handlers.get(name) ?? new Set()).add(handler));
  }

  off(name: string, handler: Handler) {
    this.#handlers.get(name)?.delete(handler);
  }

  send(message: Said) {
    if (message.kind === "begin") void this.#link?.begin();
    else if (message.kind === "again") void this.#link?.look();
    else this.#link?.send(message);
  }

  #tell(name: string, ...values: unknown[]) {
    for (const handler of [...(this.#handlers.get(name) ?? [])]) handler(...values);
  }

  #changed(names: readonly string[]) {
    for (const name of names) this.#tell(`change:${name}`);
    if (names.length > 0) this.#tell("change");
  }

  // ---------------------------------------------------------------------------------- following

  get #link(): Link | undefined {
    return this.#linkedTo && this.#links.get(this.#linkedTo);
  }

  #linkOf(kernel: Connection): Link {
    const known = this.#links.get(kernel);
    if (known !== undefined) return known;
    const isHere = () => this.#linkedTo === kernel;
    const link = new Link(
      kernel,
      (names) => isHere() && this.look(names),
      (message, buffers) => isHere() && this.#tell("msg:custom", message, buffers),
    );
    this.#links.set(kernel, link);
    return link;
  }

  #listen(how: "connect" | "disconnect") {
    const session = this.#session;
    if (session === undefined) return;
    const signals = ["kernelChanged", "statusChanged", "connectionStatusChanged"] as const;
    for (const name of [...signals, "sessionChanged"] as const) {
      session[name][how](this.#seen, this);
    }
  }

  #seen() {
    this.look();
  }

  /** Looks at the state again; `heard` are the names of what the kernel has changed. */
  look(heard: readonly string[] = []) {
    const before = this.#own;
    const kernel: Connection | undefined = this.#session?.session?.kernel ?? undefined;
    const isNew = kernel !== this.#linkedTo;
    if (isNew) {
      this.#link?.watch(false, []);
      this.#linkedTo = kernel;
    }
    const link = kernel && !kernel.isDisposed ? this.#linkOf(kernel) : undefined;
    const where = this.#where(kernel, link);
    this.#own = {
      ...before,
      link: where,
      busy: kernel?.status === "busy",
      place: this.#name(),
      kernel: kernel ? (this.#session?.kernelDisplayName ?? "") : "",
      chosen: before.chosen + (isNew ? 1 : 0),
    };
    const own = (Object.keys(before) as (keyof Own)[]).filter(
      (name) => before[name] !== this.#own[name],
    );
    this.#changed([...own, ...(isNew ? HEARD : heard)]);
    if (link === undefined || kernel !== this.#linkedTo || !isPython(this.#session, kernel)) return;
    link.follow();
    link.watch(this.#own.visible, this.#own.folders);
  }

  #where(kernel: Connection | undefined, link: Link | undefined): Where {
    const session = this.#session;
    if (session === undefined) return "nothing";
    if (kernel?.status === "dead") return "dead"; // its connection says that it is disconnected
    const shown = session.kernelDisplayStatus;
    const state = STATES[shown];
    if (state !== undefined) return state;
    if (kernel === undefined || link === undefined) return "none";
    if (!isPython(session, kernel)) return "foreign";
    if (shown === "unknown") return "connecting";
    const { manager } = link.heard;
    return manager === "unknown" ? "asking" : manager;
  }
}

/** Whether the kernel's language is Python, as far as its specification says. */
function isPython(session: Session | undefined, kernel: Connection | undefined): boolean {
  const name = (kernel as Partial<Kernel.IKernelConnection> | undefined)?.name;
  const spec = name === undefined ? undefined : session?.specsManager.specs?.kernelspecs[name];
  return spec === undefined || spec.language.toLowerCase() === "python";
}
