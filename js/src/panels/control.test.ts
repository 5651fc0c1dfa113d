import { beforeEach, expect, test } from "vitest";
import { fileOf } from "../../test/records";
import { bytesSource, openRecord } from "../record";
import viewer from "../viewer";
import { actedWords, shareWords } from "./control";

const control = { name: "canny", strength: 1, start: 0, end: 1 };

beforeEach(() => document.body.replaceChildren());

/** A viewer of a golden record. */
async function shown(name: string) {
  const file = await openRecord(bytesSource(fileOf(name)), { name });
  await file.frames();
  const el = document.createElement("div");
  document.body.append(el);
  viewer.initialize?.({ model: file.model } as never);
  viewer.render?.({ model: file.model, el } as never);
  const panel = el.querySelector<HTMLElement>(".sdw-control");
  const texts = (selector: string) =>
    [...(panel?.querySelectorAll(selector) ?? [])].map((one) => one.textContent);
  return { model: file.model, panel, texts };
}

test("each control has its name, when it acted, and a map of each level", async () => {
  const { panel, texts } = await shown("controlled");
  expect(panel?.hidden).toBe(false);
  expect(texts(".sdw-control-name bdi")).toEqual(["canny.safetensors", "a <b>depth</b>"]);
  expect(texts(".sdw-control-when")).toEqual([
    "strength 0.5, 0 % to 63 % of the steps",
    "13 % to 100 % of the steps",
  ]);
  const labels = ["down 1", "down 2", "mid"];
  expect(texts("figcaption > :first-child")).toEqual([...labels, ...labels]);
  const canvases = [...(panel?.querySelectorAll("canvas") ?? [])];
  expect(canvases.map(({ width, height }) => [width, height])).toEqual(
    [...Array(2)].flatMap(() => [[3, 40], [4, 3], [2, 2]]), // biome-ignore format: sizes
  );
});

test("the maps are those of the step on show", async () => {
  const { model, texts, panel } = await shown("controlled");
  const shares = () => texts(".sdw-map-range");
  expect(shares().slice(0, 3)).toEqual(["0 %", "0 %", "0 %"]); // the last step: the first is off
  expect(
    shares()
      .slice(3)
      .every((one) => Number.parseFloat(one ?? "") > 50),
  ).toBe(true);
  model.set("step", 0 as never);
  expect(shares().slice(0, 3)).not.toContain("0 %");
  const [first] = panel?.querySelectorAll("canvas") ?? [];
  expect(first?.getAttribute("aria-label")).toBe(`down 1: adds ${shares()[0]} on average`);
});

test("a bar for each step says when a control acted, and shows that step", async () => {
  const { model, panel } = await shown("controlled");
  const [first, second] = panel?.querySelectorAll<HTMLElement>(".sdw-control-steps") ?? [];
  expect(first?.getAttribute("aria-label")).toBe("canny.safetensors acts in 2 of 3 steps");
  expect(second?.getAttribute("aria-label")).toBe("a <b>depth</b> acts in 3 of 3 steps");
  const off = [...(first?.children ?? [])].map((one) => one.hasAttribute("data-off"));
  expect(off).toEqual([false, false, true]);
  (first?.children[1] as HTMLElement | undefined)?.click();
  expect(model.get("step")).toBe(1);
  expect(first?.children[1]?.hasAttribute("data-shown")).toBe(true);
});

test("a run without controls has no such panel", async () => {
  const { model, panel } = await shown("heads");
  expect(model.get("panels")).not.toContain("control");
  expect(panel).toBeNull();
  model.set("panels", ["denoising", "control"] as never);
  expect(document.querySelector<HTMLElement>(".sdw-control")?.hidden).toBe(true);
});

test.each([
  [{}, ""],
  [{ strength: 0.123456 }, "strength 0.123"],
  [{ start: 0.25 }, "25 % to 100 % of the steps"],
  [{ strength: 2, end: 0.5 }, "strength 2, 0 % to 50 % of the steps"],
])("how a control acted, in words: %j", (changed, words) => {
  expect(actedWords({ ...control, ...changed })).toBe(words);
});

test.each([
  [0, "0 %"],
  [0.0123, "1.2 %"],
  [1.3, "130 %"],
])("a share in words: %d", (share, words) => {
  expect(shareWords(share)).toBe(words);
});
