import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { countedUrls, FakeModel, lose } from "../test/model";
import training, { type Model } from "./training";

const traits = (): Model & Record<string, unknown> => ({
  run: { id: 0, state: "idle", message: "" },
  numbers: {},
  curve: new DataView(new ArrayBuffer(0)),
  names: [],
});

let model: FakeModel;
let el: HTMLElement;
let undo: () => void;
let urls: Set<string>;

const all = (selector: string) => [...el.querySelectorAll<HTMLElement>(selector)];
const one = (selector: string) => el.querySelector(selector) as HTMLElement;
const text = (selector: string) => one(selector).textContent;
const state = (name: string, message = "", id = 1) =>
  model.change({ run: { id, state: name, message } });

function table(...losses: number[]) {
  return new DataView(new Float32Array(losses.flatMap((loss, i) => [i + 1, loss, loss])).buffer);
}

function sheet(step: number) {
  const data = new DataView(new ArrayBuffer(4));
  return { step, data, type: "image/png", size: [8, 8], rows: 2, columns: 2 };
}

const numbers = (step: number) => ({
  step,
  steps: 100,
  seconds: 0.25,
  rate: 64,
  left: 75,
  lr: 0.001,
  means: { loss: 0.125 },
});

function view() {
  el = document.createElement("div");
  document.body.replaceChildren(el);
  undo = (training as { render(of: unknown): () => void }).render({ model, el });
}

beforeEach(() => {
  vi.useFakeTimers();
  urls = countedUrls();
  model = new FakeModel(traits());
  view();
});

afterEach(() => {
  undo();
  vi.useRealTimers();
  vi.restoreAllMocks();
});

test("a running training shows its numbers", () => {
  state("running", "Training");
  model.change({ numbers: numbers(25) });
  const side = one(".sdw-t-side");
  expect(side.textContent).toContain("step 25 of 100");
  expect(side.textContent).toContain("1 min 15 s left");
  expect(all(".sdw-t-numbers dd").map((dd) => dd.textContent)).toEqual([
    "0.25 s",
    "64.0",
    "0.00100",
  ]);
  expect((one("progress") as HTMLProgressElement).value).toBe(0.25);
});

test("before the first step the bar has no value and nothing is invented", () => {
  state("running", "Getting ready");
  expect(one("progress").hasAttribute("value")).toBe(false);
  expect(all(".sdw-t-numbers dd").map((dd) => dd.textContent)).toEqual(["–", "–", "–"]);
  expect(el.textContent).not.toContain("NaN");
});

test("buttons ask the kernel, and only while there is something to ask", () => {
  const [pause, stop] = [one(".sdw-t-pause"), one(".sdw-t-stop")];
  pause.click();
  stop.click();
  expect(model.sent).toEqual([{ kind: "hello" }]);
  state("running");
  pause.click();
  state("paused", "Paused after step 3");
  expect(pause.textContent).toBe("Resume");
  pause.click();
  state("running");
  stop.click();
  state("stopping");
  stop.click();
  const kinds = model.sent.map(({ kind }) => kind);
  expect(kinds).toEqual(["hello", "pause", "resume", "stop"]);
});

test("a click that is not heard says when it will be", () => {
  state("running", "Training");
  one(".sdw-t-stop").click();
  expect(text(".sdw-t-status")).toBe("Stopping");
  vi.advanceTimersByTime(1100);
  expect(text(".sdw-t-status")).toBe("Stopping once the cell has finished");
  state("stopping", "Stopping after this step");
  expect(text(".sdw-t-status")).toBe("Stopping after this step");
});

test("an error is an alert, and no markup", () => {
  state("error", "<b>The loss</b> became nan.\nA lower rate helps.");
  expect(text("[role=alert]")).toBe("<b>The loss</b> became nan.\nA lower rate helps.");
  expect(all("[role=alert] b")).toEqual([]);
  expect(one(".sdw-t-stop").getAttribute("aria-disabled")).toBe("true");
});

test("without a kernel the last state stays and the silence is said", () => {
  vi.advanceTimersByTime(16_000);
  expect(text(".sdw-t-status")).toContain("No kernel answers");
  state("running", "Training");
  expect(text(".sdw-t-status")).toBe("Training");
});

test("a kernel that ends in the middle is said, and nothing can be asked of it", async () => {
  state("running", "Training");
  await lose(model);
  expect(text(".sdw-t-status")).toContain("The kernel has ended");
  expect(el.dataset.state).toBe("stopped");
  expect(one(".sdw-t-progress").hasAttribute("value")).toBe(true);
  model.sent.length = 0;
  one(".sdw-t-pause").click();
  one(".sdw-t-stop").click();
  expect(model.sent).toEqual([]);
});

test("the newest images are on show until another is chosen", () => {
  state("running");
  model.change({ grid0: sheet(1), grid1: sheet(10) });
  const left = one(".sdw-t-left");
  expect(left.dataset.step).toBe("10");
  all(".sdw-t-thumb")[0]?.click();
  expect(left.dataset.step).toBe("1");
  model.change({ grid2: sheet(20) });
  expect(left.dataset.step).toBe("1");
  all(".sdw-t-thumb")[2]?.click();
  model.change({ grid3: sheet(30) });
  expect(left.dataset.step).toBe("30");
});

test("slots may be used again: the order is that of the steps", () => {
  model.change({ grid0: sheet(1), grid1: sheet(30), grid2: sheet(20) });
  expect(all(".sdw-t-thumb").map(({ title }) => title)).toEqual(["step 1", "step 20", "step 30"]);
  model.change({ grid1: {} });
  expect(all(".sdw-t-thumb").map(({ title }) => title)).toEqual(["step 1", "step 20"]);
  expect(urls.size).toBe(2);
});

test("a thumbnail is made once, and keeps the focus", () => {
  model.change({ grid0: sheet(1), grid1: sheet(2) });
  const first = all(".sdw-t-thumb")[0];
  first?.focus();
  model.change({ grid2: sheet(3) });
  expect(all(".sdw-t-thumb")[0]).toBe(first);
  expect(document.activeElement).toBe(first);
  expect(URL.createObjectURL).toHaveBeenCalledTimes(3);
});

test("the slider goes through the images", () => {
  model.change({ grid0: sheet(1), grid1: sheet(10), grid2: sheet(20) });
  const slider = one("input[type=range]") as HTMLInputElement;
  expect(slider.max).toBe("2");
  slider.value = "1";
  slider.dispatchEvent(new Event("input"));
  expect(one(".sdw-t-left").dataset.step).toBe("10");
  expect(slider.getAttribute("aria-valuetext")).toBe("step 10");
});

test("they play from the first to the newest with no kernel", () => {
  model.change({ grid0: sheet(1), grid1: sheet(10), grid2: sheet(20) });
  one(".sdw-v-play").click();
  const seen = [0, 1, 2].map(() => {
    const { step } = one(".sdw-t-left").dataset;
    vi.advanceTimersByTime(350);
    return step;
  });
  expect(seen).toEqual(["1", "10", "20"]);
  one(".sdw-v-play").click();
  expect(model.sent).toEqual([{ kind: "hello" }]);
});

test("what is no sheet is not shown", () => {
  const wrong = [{}, null, 3, "text", { ...sheet(1), data: undefined }, { ...sheet(2), rows: "2" }];
  model.change(Object.fromEntries(wrong.map((value, i) => [`grid${i}`, value])));
  expect(all(".sdw-t-thumb")).toEqual([]);
  expect(one(".sdw-t-left").dataset.show).toBe("nothing");
});

test("the curve is drawn as it grows, on a logarithmic scale where it can be", () => {
  model.change({ names: ["loss"], curve: table(1, 0.1), numbers: numbers(2) });
  expect(one(".sdw-t-curve").dataset.points).toBe("2");
  const path = () => one(".sdw-t-mean").getAttribute("d");
  const log = path();
  expect(log?.startsWith("M")).toBe(true);
  one("[data-value=linear]").click();
  expect(one("[data-value=linear]").getAttribute("aria-pressed")).toBe("true");
  model.change({ curve: table(1, -0.1) });
  one("[data-value=log]").click();
  expect(one("[data-value=log]").getAttribute("aria-disabled")).toBe("true");
  expect(path()).not.toContain("NaN");
});

test("each value has its number and can be drawn", () => {
  const rows = new DataView(new Float32Array([1, 1, 1, 5, 5]).buffer);
  model.change({ names: ["loss", "little_noise"], curve: rows, numbers: numbers(1) });
  expect(all(".sdw-t-value").map(({ textContent }) => textContent)).toEqual([
    "loss0.125",
    "little noise–",
  ]);
  all(".sdw-t-value")[1]?.click();
  expect(one(".sdw-t-curve").dataset.value).toBe("little_noise");
});

test("a new training forgets the images of the one before", () => {
  state("done");
  model.change({ grid0: sheet(1), grid1: sheet(2) });
  all(".sdw-t-thumb")[0]?.click();
  model.change({ grid0: {}, grid1: {}, run: { id: 2, state: "running", message: "" } });
  model.change({ grid0: sheet(1) });
  model.change({ grid1: sheet(9) });
  expect(one(".sdw-t-left").dataset.step).toBe("9");
});

test("a view that is taken away leaves no listener and no image behind", () => {
  model.change({ grid0: sheet(1), grid1: sheet(2) });
  one(".sdw-v-play").click();
  undo();
  expect(model.listening).toBe(0);
  expect(urls.size).toBe(0);
  expect(vi.getTimerCount()).toBe(0);
});
