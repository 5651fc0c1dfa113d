import { expect, test } from "vitest";
import { PANELS } from "../../src/lib/contract";
import schema from "../schema/preferences.json";
import { CHOICES, DEFAULTS, differing, read, toJson, type Values } from "./values";

const properties = schema.properties as Record<string, Record<string, unknown>>;

test("the schema has every setting, with the same default, a title and a description", () => {
  const defaults = Object.entries(properties).map(([name, spec]) => [name, spec.default]);
  expect(read(Object.fromEntries(defaults))).toEqual({ values: DEFAULTS, bad: [] });
  expect(defaults.map(([name]) => name).sort()).toEqual(Object.keys(DEFAULTS).sort());
  for (const spec of Object.values(properties)) {
    expect(spec.title).toMatch(/^[A-Z]/);
    expect(spec.description).toMatch(/\.$/);
  }
});

test("the schema allows the choices that are read", () => {
  for (const [name, choices] of Object.entries(CHOICES)) {
    const offered = properties[name]?.oneOf as { const: string }[];
    expect(offered.map((choice) => choice.const)).toEqual(choices);
  }
  expect(Object.keys(schema.properties.recordPanels.properties)).toEqual(PANELS);
});

test("what JupyterLab holds is read", () => {
  const json = {
    previews: "large",
    colormap: "grey",
    panelAtStart: true,
    recordPanels: { tokens: true, attention: false },
    modelFolders: ["~/models", "", " /data/m ", "~/models"],
    language: "en",
  };
  const values = {
    ...json,
    recordPanels: ["denoising", "tokens", "control"],
    modelFolders: ["~/models", "/data/m"],
  };
  expect(read(json)).toEqual({ values, bad: [] });
  expect(read({})).toEqual({ values: DEFAULTS, bad: [] });
});

test.each([
  ["previews", "huge"],
  ["previews", 3],
  ["colormap", null],
  ["panelAtStart", "yes"],
  ["recordPanels", { history: true }],
  ["recordPanels", { tokens: "yes" }],
  ["recordPanels", ["tokens"]],
  ["recordPanels", null],
  ["modelFolders", "/data"],
  ["modelFolders", [1]],
  ["modelFolders", Array.from({ length: 65 }, (_, i) => `/${i}`)],
  ["language", "de"],
])("a bad value of %s counts as the default, and the others hold", (name, value) => {
  const other = name === "colormap" ? { language: "en" } : { colormap: "viridis" };
  const { values, bad } = read({ ...other, [name]: value });
  expect(values).toEqual({ ...DEFAULTS, ...other });
  expect(bad).toEqual([name]);
});

test("the settings that differ are named", () => {
  const other = { ...DEFAULTS, modelFolders: ["/data"], language: "en" as const };
  expect(differing(DEFAULTS, other)).toEqual(["modelFolders", "language"]);
  expect(differing(other, { ...other, modelFolders: ["/data"] })).toEqual([]);
});

test("what is saved is read again", () => {
  const values: Values = { ...DEFAULTS, previews: "off", recordPanels: ["attention"] };
  const names = Object.keys(values) as (keyof Values)[];
  const json = Object.fromEntries(names.map((name) => [name, toJson(name, values[name])]));
  expect(read(json)).toEqual({ values, bad: [] });
});
