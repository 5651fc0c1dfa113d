// A strict JSON reader for files that are not trusted: sdwidgets/strict_json.py, in the same words.

import {
  ascii,
  commas,
  first,
  type Json,
  type JsonObject,
  leftStripped,
  lengthOf,
  rightStripped,
  stripped,
} from "./python";
import { Fault } from "./refused";

const DIGITS = 40; // the most characters of a whole number
/** Python refuses what is nested more deeply than its own stack, about 1,000 levels. */
const DEPTH = 900;

/** A JSON object, as `parseJson`; a `Fault` for any other value. */
export function parseObject(text: string | Uint8Array, subject = ""): JsonObject {
  const value = parseJson(text, subject);
  if (!(value instanceof Map)) throw new Fault(`${subject}not an object`);
  return value;
}

/** A JSON value without duplicate names and with finite numbers only; a `Fault` for all else. */
export function parseJson(text: string | Uint8Array, subject = ""): Json {
  return new Parser(typeof text === "string" ? text : decoded(text, subject), subject).parse();
}

/** The text of UTF-8. */
export function decoded(data: Uint8Array, subject = ""): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(data);
  } catch {
    throw new Fault(`${subject}not UTF-8 (byte ${commas(firstWrong(data))})`);
  }
}

/** Where the first bytes begin that are no character of UTF-8. */
function firstWrong(data: Uint8Array): number {
  const at = (i: number) => data[i] ?? 0;
  for (let i = 0; i < data.length; ) {
    const byte = at(i);
    const more =
      byte < 0x80 ? 0 : byte < 0xc2 ? -1 : byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : byte < 0xf5 ? 3 : -1;
    if (more < 0) return i;
    for (let k = 1; k <= more; k++) if ((at(i + k) & 0xc0) !== 0x80) return i;
    const second = at(i + 1);
    if ((byte === 0xe0 && second < 0xa0) || (byte === 0xed && second > 0x9f)) return i;
    if ((byte === 0xf0 && second < 0x90) || (byte === 0xf4 && second > 0x8f)) return i;
    i += more + 1;
  }
  return data.length;
}

const NUMBER = /-?(?:0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?/y;
const CONSTANTS: Record<string, Json> = { null: null, true: true, false: false };
const ESCAPED = '"\\\\/bfnrt';

class Parser {
  #at = 0;
  #depth = 0;
  readonly #text: string;
  readonly #subject: string;

  constructor(text: string, subject: string) {
    this.#text = text;
    this.#subject = subject;
  }

  parse(): Json {
    if (this.#text.startsWith("\ufeff")) {
      throw this.#wrong("Unexpected UTF-8 BOM (decode using utf-8-sig)", 0);
    }
    this.#skip();
    const value = this.#value();
    this.#skip();
    if (this.#at < this.#text.length) throw this.#wrong("Extra data", this.#at);
    return value;
  }

  #skip() {
    for (;;) {
      const unit = this.#text.charCodeAt(this.#at);
      if (unit !== 32 && unit !== 10 && unit !== 13 && unit !== 9) return;
      this.#at++;
    }
  }

  #value(): Json {
    const text = this.#text;
    switch (text[this.#at]) {
      case '"':
        return this.#string();
      case "{":
        return this.#nested(() => this.#object());
      case "[":
        return this.#nested(() => this.#list());
      case "n":
      case "t":
      case "f":
        for (const name of ["null", "true", "false"]) {
          if (text.startsWith(name, this.#at)) {
            this.#at += name.length;
            return CONSTANTS[name] as Json;
          }
        }
        break;
      case "N":
      case "I":
      case "-":
        for (const name of ["NaN", "Infinity", "-Infinity"]) {
          if (text.startsWith(name, this.#at)) {
            throw new Fault(`${name} is not a JSON number (${this.#placeOf(name)})`);
          }
        }
    }
    return this.#number();
  }

  #nested<T>(read: () => T): T {
    this.#depth++;
    if (this.#depth > DEPTH) throw new Fault(`${this.#subject}nested too deeply`);
    this.#at++;
    this.#skip();
    const value = read();
    this.#depth--;
    return value;
  }

  #object(): JsonObject {
    const text = this.#text;
    const made: JsonObject = new Map();
    const twice = new Map<string, number>();
    if (text[this.#at] !== "}") {
      for (;;) {
        if (text[this.#at] !== '"') {
          throw this.#wrong("Expecting property name enclosed in double quotes", this.#at);
        }
        const name = this.#string();
        this.#skip();
        if (text[this.#at] !== ":") throw this.#wrong("Expecting ':' delimiter", this.#at);
        this.#at++;
        this.#skip();
        const value = this.#value();
        if (made.has(name)) twice.set(name, (twice.get(name) ?? 1) + 1);
        made.set(name, value);
        this.#skip();
        if (text[this.#at] === "}") break;
        if (text[this.#at] !== ",") throw this.#wrong("Expecting ',' delimiter", this.#at);
        this.#at++;
        this.#skip();
      }
    }
    this.#at++;
    if (twice.size > 0) {
      const most = Math.max(...twice.values());
      const name = [...made.keys()].find((each) => twice.get(each) === most) as string;
      throw new Fault(`a name appears in it twice: ${shortName(name)}`);
    }
    return made;
  }

  #list(): Json[] {
    const text = this.#text;
    const made: Json[] = [];
    if (text[this.#at] !== "]") {
      for (;;) {
        made.push(this.#value());
        this.#skip();
        if (text[this.#at] === "]") break;
        if (text[this.#at] !== ",") throw this.#wrong("Expecting ',' delimiter", this.#at);
        this.#at++;
        this.#skip();
      }
    }
    this.#at++;
    return made;
  }

  #number(): bigint | number {
    NUMBER.lastIndex = this.#at;
    const found = NUMBER.exec(this.#text);
    if (found === null) throw this.#wrong("Expecting value", this.#at);
    const [digits, fraction, power] = found;
    this.#at += digits.length;
    if (fraction === undefined && power === undefined) {
      if (digits.length > DIGITS) {
        const count = commas(digits.length);
        throw new Fault(`a number has ${count} characters (${this.#placeOf(digits)})`);
      }
      return BigInt(digits);
    }
    const value = Number(digits);
    if (!Number.isFinite(value)) {
      throw new Fault(`${digits.slice(0, DIGITS)} is too large (${this.#placeOf(digits)})`);
    }
    return value;
  }

  /** The string whose quote is here. */
  #string(): string {
    const text = this.#text;
    const begin = this.#at;
    let at = begin + 1;
    let isPlain = true;
    for (let unit = text.charCodeAt(at); unit !== 34; unit = text.charCodeAt(at)) {
      if (at >= text.length) throw this.#wrong("Unterminated string starting at", begin);
      if (unit <= 31) throw this.#wrong("Invalid control character at", at);
      if (unit === 92) {
        isPlain = false;
        at += this.#escape(at, begin);
      } else {
        at++;
      }
    }
    this.#at = at + 1;
    return isPlain ? text.slice(begin + 1, at) : JSON.parse(text.slice(begin, at + 1));
  }

  /** The length of the escape at `at`, in the string that begins at `begin`. */
  #escape(at: number, begin: number): number {
    const letter = this.#text[at + 1];
    if (letter === undefined) throw this.#wrong("Unterminated string starting at", begin);
    if (letter !== "u") {
      if (!ESCAPED.includes(letter)) throw this.#wrong("Invalid \\escape", at);
      return 2;
    }
    const digits = this.#text.slice(at + 2, at + 6);
    if (at + 6 >= this.#text.length || !/^[\da-fA-F]{4}$/.test(digits)) {
      throw this.#wrong("Invalid \\uXXXX escape", at + 1);
    }
    return 6;
  }

  // ---------------------------------------------------------------------------- where it is

  /** The parser's error, in the words of `strict_json._what_is_wrong`. */
  #wrong(what: string, index: number): Fault {
    const text = this.#text;
    const before = rightStripped(text.slice(0, index));
    const after = leftStripped(text.slice(index + 1, index + 1000));
    const here = text[index] ?? "";
    if ("}]".includes(here) && here !== "" && before.endsWith(",")) {
      return new Fault(`a comma before ${here} (${this.#place(before.length - 1)})`);
    }
    if (index >= rightStripped(text).length) {
      return new Fault(`it ends too early (${this.#place(index)})`);
    }
    if (here === "," && after !== "" && "}]".includes(after[0] as string)) {
      return new Fault(`a comma before ${after[0]} (${this.#place(index)})`);
    }
    return new Fault(`${what[0]?.toLowerCase()}${what.slice(1)} (${this.#place(index)})`);
  }

  /** Where a literal first stands outside of strings. */
  #placeOf(literal: string): string {
    let index = 0;
    const bare = this.#text.replaceAll("\\\\", "__").replaceAll('\\"', "__");
    for (const [number, part] of bare.split('"').entries()) {
      const found = number % 2 === 0 ? part.indexOf(literal) : -1;
      if (found >= 0) return this.#place(index + found);
      index += part.length + 1;
    }
    return this.#place(0);
  }

  #place(index: number): string {
    const text = this.#text;
    if (!stripped(text).includes("\n")) {
      return `character ${commas(lengthOf(text.slice(0, index)) + 1)}`;
    }
    const before = text.slice(0, index);
    const line = before.split("\n").length;
    const column = lengthOf(before.slice(before.lastIndexOf("\n") + 1)) + 1;
    return `line ${commas(line)}, column ${commas(column)}`;
  }
}

function shortName(name: string, most = 40): string {
  return ascii(lengthOf(name) <= most ? name : `${first(name, most - 3)}...`);
}
