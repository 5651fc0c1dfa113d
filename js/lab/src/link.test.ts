import { Signal } from "@lumino/signaling";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { SIDE, SIDE_CONNECT, SIDE_EVERY } from "../../src/lib/contract";
import { FollowedModel, type Session } from "./followed";
import { type Connection, type Heard, Link } from "./link";

type Message = {
  header: { msg_type: string; subshell_id: string | null };
  content: Record<string, unknown>;
  channel: string;
};

/** A kernel, as far as its connection goes. It answers when it is told to. */
class Kernel {
  readonly iopubMessage = new Signal<this, unknown>(this);
  readonly statusChanged = new Signal<this, string>(this);
  readonly connectionStatusChanged = new Signal<this, string>(this);
  readonly disposed = new Signal<this, void>(this);
  commsOverSubshells: string | undefined;
  id = "kernel";
  name = "python3";
  clientId = "page";
  username = "";
  status = "idle";
  connectionStatus = "connected";
  isDisposed = false;
  info: Promise<unknown> = new Promise(() => {});
  sent: Message[] = [];
  executed: unknown[] = [];
  execution: Promise<unknown> = new Promise(() => {});
  comms: Record<string, unknown> = {};
  hasSubshells = true;
  hasControl = true;
  isBusy = false; // with a cell: its shell's channel waits

  registerCommTarget = vi.fn();

  requestExecute(asked: unknown) {
    this.executed.push(asked);
    return { done: this.execution };
  }

  #send(message: Message) {
    this.sent.push(message);
    const future = { onReply: (_: unknown) => {}, done: new Promise(() => {}) };
    const answers = message.channel === "control" ? this.hasControl : !this.isBusy;
    const replies: Record<string, unknown> = {
      comm_info_request: { comms: this.comms },
      kernel_info_request: { supported_features: this.hasSubshells ? ["kernel subshells"] : [] },
      create_subshell_request: { subshell_id: "subshell" },
    };
    const content = replies[message.header.msg_type];
    if (answers && content) queueMicrotask(() => future.onReply({ content }));
    return future;
  }
  sendShellMessage = (message: Message) => this.#send(message);
  sendControlMessage = (message: Message) => this.#send(message);

  /** The messages of a type to the kernel. */
  of(type: string) {
    return this.sent.filter(({ header }) => header.msg_type === type);
  }
  /** What was said over the comm that was opened last. */
  get said() {
    const id = this.of("comm_open").at(-1)?.content.comm_id;
    return this.of("comm_msg")
      .filter(({ content }) => content.comm_id === id)
      .map(({ content }) => content.data as Record<string, unknown>);
  }
  publish(msg_type: string, content: object, buffers: unknown[] = []) {
    this.iopubMessage.emit({ header: { msg_type }, content, buffers });
  }
  /** Says something over the comm that was opened last. */
  say(data: object, buffers: unknown[] = []) {
    const comm_id = this.of("comm_open").at(-1)?.content.comm_id;
    this.publish("comm_msg", { comm_id, data }, buffers);
  }
  announce() {
    this.comms = { announcement: {} };
    this.publish("comm_open", { comm_id: "announcement", target_name: SIDE.target, data: {} });
  }
  turn(status: string) {
    this.status = status;
    this.statusChanged.emit(status);
  }
}

let kernel: Kernel;
let link: Link;
let changed: (keyof Heard)[];
let told: unknown[];

const settle = () => vi.advanceTimersByTimeAsync(0);
const connection = (one: Kernel) => one as unknown as Connection;
const welcome = { kind: "welcome", v: SIDE.v, version: "1.0", device: "cpu" };

beforeEach(() => {
  vi.useFakeTimers();
  kernel = new Kernel();
  changed = [];
  told = [];
  link = new Link(
    connection(kernel),
    (names) => changed.push(...names),
    (message) => told.push(message),
  );
});
afterEach(() => {
  link.remove();
  vi.useRealTimers();
});

async function linked() {
  kernel.comms = { announcement: {} };
  link.follow();
  await settle();
  kernel.say(welcome);
}

test("a kernel that is not followed is only listened to", async () => {
  await settle();
  kernel.turn("idle");
  kernel.announce();
  await settle();
  expect(kernel.registerCommTarget).toHaveBeenCalledWith(SIDE.target, expect.any(Function));
  expect(kernel.sent).toEqual([]);
});

test("looking runs nothing: it asks for comms of the target", async () => {
  link.follow();
  await settle();
  expect(link.heard.manager).toBe("absent");
  expect(new Set(kernel.sent.map(({ header }) => header.msg_type))).toEqual(
    new Set(["comm_info_request"]),
  );
  expect(kernel.executed).toEqual([]);
  const sent = kernel.sent.length;
  for (let i = 0; i < 5; i++) {
    kernel.turn("busy");
    kernel.turn("idle");
    await settle();
  }
  expect(kernel.sent.length).toBe(sent); // and not again and again
});

test("a manager that is there is found, over a subshell, also while a cell runs", async () => {
  kernel.isBusy = true;
  kernel.status = "busy";
  await linked();
  expect(link.heard).toMatchObject({ manager: "linked", reachable: true, version: "1.0" });
  expect(kernel.of("comm_open")[0]?.content.data).toMatchObject({ v: SIDE.v });
  for (const type of ["comm_open", "comm_msg"]) {
    for (const { header, channel } of kernel.of(type)) {
      expect([channel, header.subshell_id]).toEqual(["shell", "subshell"]);
    }
  }
});

test("nothing is said before the welcome", async () => {
  kernel.comms = { announcement: {} };
  link.watch(true, ["/models"]);
  link.follow();
  await settle();
  link.send({ kind: "stop", job: null });
  await vi.advanceTimersByTimeAsync(2 * SIDE_EVERY.alive);
  expect(kernel.said).toEqual([]);
  kernel.say(welcome);
  expect(kernel.said).toEqual([
    { kind: "watch", visible: true },
    { kind: "models", folders: ["/models"] },
  ]);
});

test("without subshells the comm is on the main shell", async () => {
  kernel.hasSubshells = false;
  await linked();
  expect(link.heard.reachable).toBe(false);
  expect(kernel.of("comm_open")[0]?.header.subshell_id).toBe(null);
  expect(kernel.of("create_subshell_request")).toEqual([]);
});

test("a person who has switched subshells off gets none", async () => {
  kernel.commsOverSubshells = "disabled";
  await linked();
  expect(kernel.of("create_subshell_request")).toEqual([]);
  expect(link.heard.manager).toBe("linked");
});

test("a kernel that does not answer on the control channel is asked on the shell's", async () => {
  kernel.hasControl = false;
  kernel.info = Promise.resolve({ supported_features: [] });
  await linked();
  expect(link.heard.manager).toBe("linked");
});

test("idles during an attempt do not begin another", async () => {
  kernel.comms = { announcement: {} };
  link.follow();
  for (let i = 0; i < 20; i++) {
    kernel.turn("busy");
    kernel.turn("idle");
    await Promise.resolve();
  }
  await settle();
  expect(kernel.of("comm_open").length).toBe(1);
  expect(kernel.of("create_subshell_request").length).toBe(1);
});

test("an announcement is heard at once", async () => {
  link.follow();
  await settle();
  kernel.announce();
  await settle();
  kernel.say(welcome);
  expect(link.heard.manager).toBe("linked");
});

test("sdwidgets begins by the code that is shown, silently", async () => {
  kernel.execution = Promise.resolve({ content: { status: "ok" } });
  link.follow();
  await settle();
  void link.begin();
  void link.begin();
  expect(kernel.executed).toEqual([
    { code: SIDE_CONNECT, silent: true, store_history: false, stop_on_error: false },
  ]);
  expect(link.heard.begun).toBe("asked");
  kernel.announce();
  await settle();
  kernel.say(welcome);
  expect(link.heard).toMatchObject({ manager: "linked", begun: "" });
});

test("where sdwidgets is missing or fails, that is said", async () => {
  link.follow();
  await settle();
  for (const [ename, begun] of [
    ["ModuleNotFoundError", "missing"],
    ["ValueError", "failed"],
  ]) {
    kernel.execution = Promise.resolve({ content: { status: "error", ename, evalue: "no" } });
    await link.begin();
    expect(link.heard.begun).toBe(begun);
  }
  expect(link.heard.problem).toBe("ValueError: no");
});

test("a restart forgets everything, and finds the manager of the new process", async () => {
  await linked();
  kernel.say({ kind: "jobs", jobs: [1] });
  const before = kernel.of("comm_open")[0]?.content.comm_id;
  kernel.comms = {};
  kernel.turn("restarting");
  expect(link.heard).toMatchObject({ manager: "unknown", jobs: [] });
  kernel.turn("starting");
  kernel.turn("idle");
  await settle();
  expect(link.heard.manager).toBe("absent");
  kernel.announce();
  await settle();
  kernel.say(welcome);
  expect(link.heard.manager).toBe("linked");
  expect(kernel.of("comm_open").at(-1)?.content.comm_id).not.toBe(before);
  expect(kernel.of("create_subshell_request").length).toBe(2); // the first ended with its process
});

test("a connection that comes back keeps its comm if the kernel still has it", async () => {
  await linked();
  const mine = String(kernel.of("comm_open")[0]?.content.comm_id);
  for (const there of [true, false]) {
    kernel.comms = there ? { announcement: {}, [mine]: {} } : { announcement: {} };
    const hellos = kernel.said.length;
    kernel.connectionStatusChanged.emit("connecting");
    kernel.connectionStatusChanged.emit("connected");
    await settle();
    expect(kernel.of("comm_open").length).toBe(there ? 1 : 2);
    if (there) expect(kernel.said[hellos]).toMatchObject({ kind: "hello" });
  }
});

test("a comm that the kernel closes is opened again while it has a manager", async () => {
  await linked();
  kernel.publish("comm_close", { comm_id: kernel.of("comm_open")[0]?.content.comm_id });
  expect(link.heard.manager).toBe("unknown");
  await vi.advanceTimersByTimeAsync(5000);
  kernel.say(welcome);
  expect(kernel.of("comm_open").length).toBe(2);
  expect(link.heard.manager).toBe("linked");
});

test("messages become traits, and others are passed on", async () => {
  await linked();
  changed = [];
  kernel.say({ kind: "jobs", jobs: [{ id: 1 }] });
  kernel.say({ kind: "models", models: [{ name: "a" }], done: true });
  kernel.say({ kind: "memory", total: 1 });
  const bytes = new DataView(new ArrayBuffer(1));
  kernel.say({ kind: "images", images: [{ id: 1 }, { id: 2 }] }, [bytes]);
  kernel.say({ kind: "refused", about: "load", message: "no" });
  kernel.say({ kind: "image", id: 1 });
  kernel.say({ kind: "something new" });
  expect(link.heard).toMatchObject({
    ...{ jobs: [{ id: 1 }], models: [{ name: "a" }], done: true, memory: { total: 1 } },
    images: [
      { id: 1, thumbnail: bytes },
      { id: 2, thumbnail: undefined },
    ],
    refused: { about: "load", message: "no" },
  });
  expect(changed).toEqual(["jobs", "models", "done", "memory", "images", "refused"]);
  expect(told).toEqual([{ kind: "image", id: 1 }, { kind: "something new" }]);
  link.send({ kind: "load", name: "b" });
  expect(link.heard.refused).toBeUndefined(); // it was about something else
});

test("memory and models cost nothing until somebody looks", async () => {
  await linked();
  expect(kernel.said.some(({ kind }) => kind === "models")).toBe(false);
  expect(kernel.said.some(({ visible }) => visible === true)).toBe(false);
  link.watch(true, ["~/models"]);
  expect(kernel.said.slice(-2)).toEqual([
    { kind: "watch", visible: true },
    { kind: "models", folders: ["~/models"] },
  ]);
  const count = kernel.said.length;
  link.watch(true, ["~/models"]);
  expect(kernel.said.length).toBe(count);
  link.watch(false, ["~/models"]);
  link.watch(true, ["~/models"]); // the models are known
  expect(kernel.said.slice(count)).toEqual([
    { kind: "watch", visible: false },
    { kind: "watch", visible: true },
  ]);
  link.send({ kind: "models" });
  expect(kernel.said.at(-1)).toEqual({ kind: "models", folders: ["~/models"] });
});

test("a page says that it is alive as often as the kernel wants", async () => {
  await linked();
  const count = kernel.said.length;
  await vi.advanceTimersByTimeAsync(3 * SIDE_EVERY.alive);
  expect(kernel.said.length - count).toBeGreaterThanOrEqual(3);
  link.close();
  expect(kernel.of("comm_close").length).toBe(1);
});

// ---------------------------------------------------------------------------------- the model

function session(one: Kernel | null, shown = "idle", language = "python") {
  const made = {
    session: one && { kernel: one },
    kernelDisplayStatus: shown,
    kernelDisplayName: "Python 3",
    specsManager: { specs: { kernelspecs: { python3: { language } } } },
  };
  const signals = ["kernelChanged", "statusChanged", "connectionStatusChanged", "sessionChanged"];
  const known = signals.map((name) => [name, new Signal(made)] as const);
  return Object.assign(made, Object.fromEntries(known)) as unknown as Session & {
    kernelDisplayStatus: string;
  };
}

test("the state of the session is said before that of the manager", () => {
  const model = new FollowedModel();
  const state = (one: Session | undefined) => {
    model.follow(one, () => "a.ipynb");
    return model.get("link");
  };
  expect(state(undefined)).toBe("nothing");
  expect(state(session(null, "unknown"))).toBe("none");
  expect(state(session(null, "initializing"))).toBe("starting");
  for (const [shown, link] of [
    ...[["restarting", "restarting"] as const, ["autorestarting", "restarting"] as const],
    ...[["dead", "dead"] as const, ["connecting", "connecting"] as const],
    ...[["disconnected", "disconnected"] as const, ["unknown", "connecting"] as const],
  ]) {
    expect(state(session(new Kernel(), shown))).toBe(link);
  }
  const dead = new Kernel();
  dead.status = "dead";
  expect(state(session(dead, "disconnected"))).toBe("dead");
  const foreign = new Kernel();
  expect(state(session(foreign, "idle", "julia"))).toBe("foreign");
  expect(foreign.sent).toEqual([]);
  expect(state(session(new Kernel()))).toBe("asking");
});

test("two kernels in turn keep what is known of each", async () => {
  const model = new FollowedModel();
  const [one, other] = [new Kernel(), new Kernel()];
  const sessions = [session(one), session(other)] as const;
  const news: string[] = [];
  model.on("change:jobs", () => news.push(JSON.stringify(model.get("jobs"))));
  model.set("visible", true);
  model.save_changes();
  for (const [i, of] of [one, other].entries()) {
    of.comms = { announcement: {} };
    model.follow(sessions[i], () => "");
    await settle();
    of.say(welcome);
    of.say({ kind: "jobs", jobs: [i] });
  }
  expect(model.get("jobs")).toEqual([1]);
  expect(one.said.at(-1)).toEqual({ kind: "watch", visible: false }); // nobody looks at it
  const chosen = model.get("chosen");
  model.follow(sessions[0], () => "");
  expect(model.get("link")).toBe("linked");
  expect(model.get("jobs")).toEqual([0]);
  expect(model.get("chosen")).not.toBe(chosen);
  expect(one.said.at(-1)).toEqual({ kind: "watch", visible: true });
  other.say({ kind: "jobs", jobs: [2] }); // of the kernel that is not followed
  expect(news.at(-1)).toBe("[0]");
  model.send({ kind: "stop", job: 3 });
  expect(one.said.at(-1)).toEqual({ kind: "stop", job: 3 });
});

test("a switch to another kernel follows it", async () => {
  const model = new FollowedModel();
  const [one, other] = [new Kernel(), new Kernel()];
  one.comms = { announcement: {} };
  const followed = session(one);
  model.follow(followed, () => "");
  await settle();
  one.say(welcome);
  expect(model.get("link")).toBe("linked");
  Object.assign(followed, { session: { kernel: other } });
  (followed.kernelChanged as unknown as Signal<unknown, unknown>).emit({});
  await settle();
  expect(model.get("link")).toBe("absent");
  expect(other.of("comm_info_request").length).toBeGreaterThan(0);
});
