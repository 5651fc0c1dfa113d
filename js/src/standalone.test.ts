import { afterEach, expect, test, vi } from "vitest";
import { madeRun, nothingSelected } from "../test/runs";
import { h } from "./lib/dom";
import { start, withBytes } from "./standalone";

const base64 = (data: Uint8Array) => btoa(String.fromCharCode(...data));

function page(...widgets: object[]) {
  const data = widgets.map((one) => {
    const type = "application/json";
    return h("script", { type, id: "sdw-data" }, JSON.stringify(one));
  });
  document.body.replaceChildren(...data, h("main", { id: "sdw" }));
  start(document);
  return [...document.querySelectorAll<HTMLElement>("main#sdw > div")];
}

function viewer(uid: string) {
  const { header, frames } = madeRun();
  const packed = frames.map((one, i) => [`frame${i}`, { $bytes: base64(one) }]);
  const state = { ...nothingSelected, uid, header, pictures: [], state: "done", message: "" };
  return { widget: "viewer", state: { ...state, panels: [], ...Object.fromEntries(packed) } };
}

afterEach(() => {
  vi.restoreAllMocks();
});

test("bytes are found wherever they are, and all else stays as it is", () => {
  const value = { a: [{ data: { $bytes: "AQL/" }, type: "image/png" }], b: null, c: "AQL/" };
  expect(withBytes(value)).toEqual({
    a: [{ data: Uint8Array.of(1, 2, 255), type: "image/png" }],
    b: null,
    c: "AQL/",
  });
});

test("the run in the page is drawn, and its slider moves with no kernel", () => {
  const [el] = page(viewer("page-1"));
  expect({ ...el?.dataset }).toMatchObject({ state: "done", frames: "4", step: "3" });
  const slider = el?.querySelector(".sdw-v-slider") as HTMLInputElement;
  slider.value = "1";
  slider.dispatchEvent(new Event("input"));
  expect(el?.dataset.step).toBe("1");
});

test("several runs stand one below the other, each by itself", () => {
  const [first, second] = page(viewer("page-2"), viewer("page-3"));
  const slider = first?.querySelector(".sdw-v-slider") as HTMLInputElement;
  slider.value = "0";
  slider.dispatchEvent(new Event("input"));
  expect([first?.dataset.step, second?.dataset.step]).toEqual(["0", "3"]);
});

test("widgets nobody knows are left out", () => {
  expect(page({ widget: "constructor", state: {} })).toEqual([]);
});
