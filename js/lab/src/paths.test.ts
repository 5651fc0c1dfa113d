import { expect, test } from "vitest";
import { folderOf, inFolder, nameOf } from "./paths";

test("a file's path begins with its folder, also at the top of a drive", () => {
  expect(inFolder("", "a.ipynb")).toBe("a.ipynb");
  expect(inFolder("sub/more", "a.ipynb")).toBe("sub/more/a.ipynb");
  expect(inFolder("Drive:", "a.ipynb")).toBe("Drive:a.ipynb");
  expect(inFolder("Drive:sub", "a.ipynb")).toBe("Drive:sub/a.ipynb");
  for (const folder of ["", "sub/more", "Drive:", "Drive:sub"]) {
    expect(folderOf(inFolder(folder, "a.ipynb"))).toBe(folder);
  }
});

test("a file's name is the last part of its path", () => {
  expect(["a/b.png", "drive:b.png", "b.png"].map(nameOf)).toEqual(["b.png", "b.png", "b.png"]);
});
