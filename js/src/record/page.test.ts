import { expect, test } from "vitest";
import { digestOf } from "../../test/packed";
import { bytesOf, fileOf, golden } from "../../test/records";
import { bytesSource, openRecord, pageOf, RefusedRecord } from "./index";

const built = { script: "/* {built} */", style: "/* {built} */" };
const DATA = /(<script type="application\/json" id="sdw-data">)(.*)(<\/script>)/;

/** The data of a page with digests in place of bytes. */
async function digested(value: unknown): Promise<unknown> {
  if (Array.isArray(value)) return Promise.all(value.map(digested));
  if (typeof value !== "object" || value === null) return value;
  if ("$bytes" in value) return digestOf(bytesOf(value as { $bytes: string }));
  const parts = Object.entries(value).map(async ([name, one]) => [name, await digested(one)]);
  return Object.fromEntries(await Promise.all(parts));
}

const pages = Object.entries(golden.files).filter(([, { page }]) => page !== null);

test.each(pages)("%s: the page is Python's", async (name, { page }) => {
  const file = await openRecord(bytesSource(fileOf(name)));
  const html = await pageOf(file, built);
  const bare = html.replace(DATA, "$1$3").replace(/<noscript>.*<\/noscript>/s, "");
  expect(bare).toBe(page?.html);
  const data = await digested(JSON.parse(DATA.exec(html)?.[2] ?? ""));
  expect(data).toEqual(page?.data);
});

test("nothing that a person wrote is markup", async () => {
  const file = await openRecord(bytesSource(fileOf("rich")));
  const html = await pageOf(file, built);
  expect(html).not.toContain("<script>alert");
  expect(html).not.toContain("</script><b>");
  expect(html.match(/<script/g)?.length).toBe(2);
});

test("a record without steps has no page", async () => {
  const file = await openRecord(bytesSource(fileOf("empty")));
  await expect(pageOf(file, built)).rejects.toBeInstanceOf(RefusedRecord);
});
