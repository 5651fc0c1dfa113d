import { expect, test, vi } from "vitest";
import { hostModel } from "./host";

test("a model without a kernel tells of what changes, once, and not of what does not", () => {
  const model = hostModel({ step: 1 });
  const [heard, any] = [vi.fn(), vi.fn()];
  model.on("change:step", heard);
  model.on("change", any);
  model.set("step", 1);
  model.set("step", 2);
  model.save_changes();
  expect([heard.mock.calls.length, any.mock.calls.length, model.get("step")]).toEqual([1, 1, 2]);
  model.off("change:step", heard);
  model.set("step", 3);
  expect(heard).toHaveBeenCalledOnce();
});
