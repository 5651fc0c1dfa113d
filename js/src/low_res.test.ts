import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { countedUrls, FakeModel, lose } from "../test/model";
import lowRes from "./low_res";

let model: FakeModel;
let el: HTMLElement;
let undo: () => void;
let urls: Set<string>;

const find = <T extends HTMLElement>(selector: string) => el.querySelector(selector) as T;
const button = (words: string) =>
  [...el.querySelectorAll("button")].find((one) => one.textContent === words);
const shown = () => [...el.querySelectorAll("img")].map((image) => !image.hidden);

beforeEach(() => {
  vi.useFakeTimers();
  urls = countedUrls();
  model = new FakeModel({ small: [], before: [], after: [], note: "", results: 0, problem: "" });
  el = document.createElement("div");
  document.body.replaceChildren(el);
  undo = lowRes.render({ model, el } as never) as () => void;
});
afterEach(() => {
  undo();
  expect([model.listening, urls.size]).toEqual([0, 0]);
  vi.useRealTimers();
  vi.restoreAllMocks();
});

test("a dropped image is sent, then shown, then compared with the result", async () => {
  expect(find(".sdw-low-images").hidden).toBe(true);
  expect(el.textContent).toContain("drop it here");
  const drop = new Event("drop", { bubbles: true, cancelable: true });
  Object.assign(drop, { dataTransfer: { types: ["Files"], files: [new File(["x"], "s.png")] } });
  el.dispatchEvent(drop);
  await vi.waitFor(() => expect(model.sent).toHaveLength(1));
  expect(model.sent[0]).toMatchObject({ kind: "file", name: "s.png", part: 0, parts: 1 });
  model.change({ small: [1], before: [2], note: "8 x 8 pixels, to 32 x 32" });
  expect(shown()).toEqual([true, false, true]);
  const slider = find<HTMLInputElement>("input[type=range]");
  expect([slider.disabled, find(".sdw-low-frame").hasAttribute("data-made")]).toEqual([
    true,
    false,
  ]);
  expect(el.textContent).toContain("8 x 8 pixels, to 32 x 32");
  model.change({ after: [3] });
  expect(shown()).toEqual([true, true, true]);
  expect([slider.disabled, find(".sdw-low-frame").hasAttribute("data-made")]).toEqual([
    false,
    true,
  ]);
  slider.value = "20";
  slider.dispatchEvent(new Event("input"));
  expect(find(".sdw-low-frame").style.getPropertyValue("--sdw-at")).toBe("20%");
  expect(slider.getAttribute("aria-valuetext")).toBe("20 % bicubic");
});

test("it is removed, or the last result taken; problems are said", async () => {
  model.change({ small: [1], before: [2], results: 1, problem: "It is no image." });
  expect(find("[role=alert]").textContent).toBe("It is no image.");
  button("Use the last result")?.click();
  button("Remove")?.click();
  expect(model.sent).toEqual([{ kind: "last" }, { kind: "drop" }]);
  model.change({ small: [], before: [] });
  expect([button("Remove")?.hidden, button("Small image…")?.hidden]).toEqual([true, false]);
  await lose(model);
  button("Use the last result")?.click();
  expect(find("[role=alert]").textContent).toContain("The kernel has ended");
});
