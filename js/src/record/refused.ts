// What is thrown for a file that is not as it should be.

import { linesOf, repr } from "./python";

/** A file that cannot be read as a record, or not any more; its message is for people. */
export class RefusedRecord extends Error {
  override readonly name = "RefusedRecord";
}

/** A fault inside a record's file: its text fits behind "it is damaged: ". */
export class Fault extends Error {}

/** A file that is no record, or none that can be read: its text fits behind the file's name. */
export class Unreadable extends Fault {}

/** The refusal of the file `name` for any fault of its content; other errors stay as they are. */
export function refusal(name: string, error: unknown): unknown {
  if (error instanceof Unreadable) return new RefusedRecord(`${repr(name)} ${error.message}.`);
  if (!(error instanceof Fault)) return error;
  const sentence = linesOf(error.message).slice(0, 2).join("\n").replace(/\.+$/, "");
  return new RefusedRecord(`${repr(name)} is damaged: ${sentence}.\nTake another copy of it.`);
}
