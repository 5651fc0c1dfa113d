import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type Setting, slider, standing } from "./slider";
import type { LabView } from "./view";

const SETTING: Setting = { edit: { type: "walk", direction: 1 }, field: "amount", neutral: 0 };
const RANGE = { min: -4, max: 4, step: 0.1 };
const walked = (amount: number, direction = 1) => ({ type: "walk" as const, direction, amount });

let sent: Record<string, unknown>[];
const made = () => {
  const view = { send: (message: Record<string, unknown>) => sent.push(message) };
  const one = slider(view as unknown as LabView, ["walk"], "Walk", SETTING, RANGE);
  const input = one.element.querySelector("input") as HTMLInputElement;
  const move = (value: number) => {
    input.value = String(value);
    for (const kind of ["input", "change"]) input.dispatchEvent(new Event(kind)); // as keys do
  };
  return { ...one, input, move };
};

beforeEach(() => {
  vi.useFakeTimers();
  sent = [];
});
afterEach(() => void vi.useRealTimers());

test("a slider stands at its own edit's value, else at what changes nothing", () => {
  expect(standing([walked(1), walked(2, 0)], SETTING)).toBe(1);
  expect(standing([walked(2, 0)], SETTING)).toBe(0);
});

test("a slider moved by keys is not put back by an answer to where it was before", () => {
  const { input, move, show } = made();
  move(0.1);
  move(0.2);
  show([walked(0.1)]);
  expect(input.value).toBe("0.2");
  expect(sent.at(-1)).toEqual({ kind: "edit", edit: walked(0.2) });
});

test("a slider left alone follows the kernel", () => {
  const { input, move, show } = made();
  move(0.2);
  show([]);
  vi.advanceTimersByTime(1000);
  expect(input.value).toBe("0");
  show([walked(3)]);
  expect(input.value).toBe("3");
});
