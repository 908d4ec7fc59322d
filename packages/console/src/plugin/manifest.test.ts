import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { manifest, places } from "./manifest.ts";
import { localeOf, locales, sayIn, texts } from "./texts.ts";

/** Broadcom's schema of the manifest 1.0.0, as far as it is published: no other property is allowed at the root. */
const uri = z.string().min(1);
const id = z.string().min(1);
const icon = z.strictObject({ name: id });
const locale = z.string().regex(/^[a-z]{2}-[A-Z]{2}$/);
const versions = z.enum(["1.0.0", "1.0.1", "1.1.0", "1.2.0"]);
const views = z
  .strictObject({
    views: z.array(z.strictObject({ navigationId: id, labelKey: id, uri })).min(1),
  })
  .optional();
const schema = z.strictObject({
  manifestVersion: versions,
  requirements: z.looseObject({ "plugin.api.version": versions }),
  configuration: z.looseObject({ nameKey: id, icon }),
  global: z
    .strictObject({
      view: z.strictObject({ navigationId: id, uri, navigationVisible: z.boolean() }),
    })
    .optional(),
  objects: z.record(
    z.string().regex(/^(VirtualMachine|HostSystem|ClusterComputeResource|Datacenter)$/),
    z.strictObject({
      summary: z.strictObject({ view: z.strictObject({ uri }) }).optional(),
      monitor: views,
      configure: views,
    }),
  ),
  definitions: z.strictObject({
    iconSpriteSheet: z.strictObject({
      uri,
      definitions: z.record(
        id,
        z.strictObject({ x: z.number().int().min(0), y: z.number().int().min(0) }),
      ),
    }),
    i18n: z.strictObject({
      locales: z.array(locale).min(1),
      definitions: z.record(id, z.record(locale, z.string().min(1))),
    }),
  }),
});

/** Every value of a property of this name, at any depth. */
function valuesOf(value: unknown, name: string): unknown[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, each]) =>
    key === name ? [each] : valuesOf(each, name),
  );
}

const publicFolder = join(import.meta.dirname, "../../public");

describe("the manifest of the plug-in", () => {
  const made: unknown = JSON.parse(JSON.stringify(manifest()));

  test("fits the published schema, and has a card and a list for machines, hosts and clusters", () => {
    const { objects, manifestVersion } = schema.parse(made);
    // The oldest form is read by every vSphere Client from 7.0 on.
    expect(manifestVersion).toBe("1.0.0");
    for (const type of ["VirtualMachine", "HostSystem", "ClusterComputeResource"] as const) {
      expect(objects[type]?.summary, type).toBeDefined();
      expect(objects[type]?.monitor?.views, type).toHaveLength(1);
    }
  });

  test("has every text in every language that it names", () => {
    const { definitions, configuration } = schema.parse(made);
    const keys = [configuration.nameKey, ...valuesOf(made, "labelKey")];
    expect(new Set(definitions.i18n.locales).size).toBe(definitions.i18n.locales.length);
    expect(keys.length).toBeGreaterThan(3);
    for (const key of keys) {
      const own = definitions.i18n.definitions[String(key)] ?? {};
      expect(Object.keys(own).toSorted(), String(key)).toEqual(definitions.i18n.locales.toSorted());
    }
  });

  test("names only pages and pictures that exist, relative to its own folder", () => {
    const uris = valuesOf(made, "uri").map(String);
    expect(uris.length).toBeGreaterThan(6);
    for (const each of uris) {
      const [file = "", place] = each.split("#");
      expect(existsSync(join(publicFolder, file)), each).toBe(true);
      if (place !== undefined) expect(Object.values(places)).toContain(place);
    }
    const ids = valuesOf(made, "navigationId");
    expect(new Set(ids).size).toBe(ids.length);
  });

  test("has icons of 32 by 32 pixels in a PNG that holds them all", () => {
    const { iconSpriteSheet } = schema.parse(made).definitions;
    const png = readFileSync(join(publicFolder, iconSpriteSheet.uri));
    expect(png.subarray(1, 4).toString("latin1")).toBe("PNG");
    const [width, height] = [png.readUInt32BE(16), png.readUInt32BE(20)];
    for (const { x, y } of Object.values(iconSpriteSheet.definitions)) {
      expect([x % 32, y % 32]).toEqual([0, 0]);
      expect(x + 32).toBeLessThanOrEqual(width);
      expect(y + 32).toBeLessThanOrEqual(height);
    }
    expect(schema.parse(made).configuration.icon.name in iconSpriteSheet.definitions).toBe(true);
  });
});

describe("the texts of the plug-in", () => {
  test("have the same places to fill in every language", () => {
    const placesOf = (text: string) => (text.match(/\{\w+\}/g) ?? []).toSorted();
    for (const [name, own] of Object.entries(texts)) {
      for (const each of locales) {
        expect(placesOf(own[each]), `${name} ${each}`).toEqual(placesOf(own["en-US"]));
      }
    }
  });

  test.each([
    ["de-DE", "Schlüssel von web bei Holdfast"],
    ["de_AT", "Schlüssel von web bei Holdfast"],
    ["de", "Schlüssel von web bei Holdfast"],
    ["en-GB", "Keys of web at Holdfast"],
    ["ja-JP", "Keys of web at Holdfast"],
    ["", "Keys of web at Holdfast"],
  ])("are those of the client's language %j", (named, text) => {
    expect(sayIn(localeOf(named))("keysOf", { name: "web" })).toBe(text);
  });
});

test("the page loads only its own files and the client's library, and no code is inline", () => {
  const page = readFileSync(join(publicFolder, "plugin.html"), "utf8");
  const loaded = [...page.matchAll(/(?:src|href)="([^"]*)"/g)].map(([, address]) => address);
  expect(loaded).toEqual(["data:,", "console.css", "/api/ui/htmlClientSdk.js", "console.js"]);
  expect(page).toMatch(
    /<script src="\/api\/ui\/htmlClientSdk.js"><\/script>\s*<script type="module"/,
  );
  expect(page).not.toMatch(/<script[^>]*>[^<]|<style|style=|<base|\son\w+=/);
});
