import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { FakeModel, lose } from "../../test/model";
import { LOST } from "./kernel";
import { Saying } from "./saying";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function made() {
  const model = new FakeModel({});
  const [status, error] = [document.createElement("p"), document.createElement("p")];
  const saying = new Saying<"file" | "drop">(model, () => saying.write(status, error, "bad", "ok"));
  saying.write(status, error, "bad", "ok");
  return { model, saying, said: () => [status.textContent, error.textContent] };
}

test("the page's own words stand until the kernel answers", () => {
  const { model, saying, said } = made();
  expect(said()).toEqual(["ok", "bad"]);
  saying.say("Opening a.png", false);
  expect([said(), saying.busy]).toEqual([["Opening a.png", ""], true]);
  saying.say("a.png is too large.");
  expect([said(), saying.busy]).toEqual([["", "a.png is too large."], false]);
  saying.answered();
  saying.ask("drop", { at: 1 });
  expect([saying.busy, model.sent]).toEqual([false, [{ kind: "drop", at: 1 }]]);
  saying.remove();
  expect(model.listening).toBe(0);
});

test("a lost kernel is asked nothing, and what waited for it is said to be lost", async () => {
  const { model, saying, said } = made();
  saying.say("Opening a.png", false);
  await lose(model);
  expect(saying.lost).toBe(true);
  expect(said()).toEqual(["", LOST]);
  saying.answered();
  saying.ask("file");
  expect([said(), model.sent]).toEqual([["", LOST], []]);
  saying.remove();
});
