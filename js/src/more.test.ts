import { afterEach, beforeEach, expect, test } from "vitest";
import { FakeModel } from "../test/model";
import more, { type Row } from "./more";

let model: FakeModel;
let el: HTMLElement;
let undo: () => void;

const row = (name: string, change: Partial<Row> = {}): Row => ({
  ...{ name, label: name, help: `what ${name} does`, value: "", usual: "1", among: [] },
  ...change,
});
const field = (name: string) => el.querySelector(`.sdw-more-${name} :is(input, select)`);
const input = (name: string) => field(name) as HTMLInputElement;
const labels = () => [...el.querySelectorAll("label")].map((one) => one.firstChild?.textContent);
const fold = () => el.querySelector("button") as HTMLElement;
const grid = () => el.querySelector(".sdw-more-grid") as HTMLElement;

beforeEach(() => {
  const hires = row("hires_method", { value: "latents", among: ["latents", "pixels"] });
  model = new FakeModel({ rows: [row("eta"), hires], wrong: "", unfolded: false });
  el = document.createElement("div");
  document.body.replaceChildren(el);
  undo = more.render({ model, el } as never) as () => void;
});
afterEach(() => undo());

test("the fields are folded until they are asked for, and the kernel keeps that", () => {
  expect([grid().hidden, fold().getAttribute("aria-expanded")]).toEqual([true, "false"]);
  fold().click();
  expect([grid().hidden, fold().getAttribute("aria-expanded")]).toEqual([false, "true"]);
  expect(model.get("unfolded")).toBe(true);
});

test("an empty field shows the default, and what is entered goes to the kernel", () => {
  expect([input("eta").value, input("eta").placeholder]).toEqual(["", "1"]);
  input("eta").value = "0.5";
  input("eta").dispatchEvent(new Event("change"));
  input("hires_method").value = "pixels";
  input("hires_method").dispatchEvent(new Event("change"));
  expect(model.sent).toEqual([
    { kind: "set", name: "eta", value: "0.5" },
    { kind: "set", name: "hires_method", value: "pixels" },
  ]);
});

test("fields come and go with what a run takes, in the kernel's order", () => {
  const kept = input("eta");
  model.change({ rows: [row("variation"), row("eta")] });
  expect(labels()).toEqual(["variation", "eta"]);
  expect(input("eta")).toBe(kept);
});

test("what is being typed stays, whatever else changes", () => {
  input("eta").value = "0.";
  model.change({ rows: [row("eta", { usual: "0.3" })] });
  expect([input("eta").value, input("eta").placeholder]).toEqual(["0.", "0.3"]);
  model.change({ rows: [row("eta", { value: "0.7" })] });
  expect(input("eta").value).toBe("0.7");
});

test("the field that an error is about is marked", () => {
  model.change({ wrong: "eta" });
  expect(input("eta").getAttribute("aria-invalid")).toBe("true");
  model.change({ wrong: "" });
  expect(input("eta").getAttribute("aria-invalid")).toBe("false");
});
