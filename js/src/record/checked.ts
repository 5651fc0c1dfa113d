// Values out of a record's JSON: each is checked, or refused with its name (trace/checked.py).

import { LONGEST_PROMPT } from "../lib/contract";
import { type Json, type JsonObject, lengthOf, short } from "./python";
import { Fault } from "./refused";

const fault = (name: string, value: Json | undefined) => new Fault(`${name} is ${short(value)}`);

export function mapping(given: JsonObject, name: string): JsonObject {
  const value = given.get(name);
  if (!(value instanceof Map)) throw fault(name, value);
  return value;
}

export function mappings(given: JsonObject, name: string, most: number): JsonObject[] {
  const value = given.get(name);
  const right =
    Array.isArray(value) && value.length <= most && value.every((one) => one instanceof Map);
  if (!right) throw fault(name, value);
  return value as JsonObject[];
}

const isText = (value: Json | undefined): value is string =>
  typeof value === "string" && lengthOf(value) <= LONGEST_PROMPT;

export function text(given: JsonObject, name: string): string {
  const value = given.get(name);
  if (!isText(value)) throw fault(name, [value ?? null]);
  return value;
}

/** The text, or "" where there is no such name. */
export const textOrNone = (given: JsonObject, name: string) =>
  given.has(name) ? text(given, name) : "";

export function texts(given: JsonObject, name: string, most: number): string[] {
  const value = given.get(name);
  const right = Array.isArray(value) && value.length <= most && value.every(isText);
  if (!right) throw fault(name, value);
  return value as string[];
}

export function flag(given: JsonObject, name: string): boolean {
  const value = given.get(name);
  if (typeof value !== "boolean") throw fault(name, value);
  return value;
}

export function whole(given: JsonObject, name: string, low: number, high: number): number {
  const value = given.get(name);
  if (!isWhole(value, low, high)) throw fault(name, value);
  return Number(value);
}

export const isWhole = (value: Json | undefined, low: number, high: number) =>
  typeof value === "bigint" && value >= low && value <= high;

/** As many whole numbers, each within its limits; undefined if they are not. */
export function wholes(
  value: Json | undefined,
  low: readonly number[],
  high: readonly number[],
): number[] | undefined {
  if (!Array.isArray(value) || value.length !== low.length) return undefined;
  const right = value.every((one, i) => isWhole(one, low[i] as number, high[i] as number));
  return right ? value.map(Number) : undefined;
}

export function real(given: JsonObject, name: string, high: number): number {
  const value = given.get(name);
  const isNumber = typeof value === "bigint" || typeof value === "number";
  if (!isNumber || !(value >= 0 && value <= high)) throw fault(name, value);
  return Number(value);
}

/** Seconds; null where they were not measured. */
export const seconds = (given: JsonObject, name: string) =>
  (given.get(name) ?? null) === null ? null : real(given, name, 1e9);
