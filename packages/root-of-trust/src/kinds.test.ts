import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { rootKinds } from "./kinds.ts";

/** The modules that a file loads at once, and those that they load; types are no modules. */
function loadedBy(file: string, loaded = new Set<string>()): ReadonlySet<string> {
  const text = readFileSync(file, "utf8").replaceAll(/^(import|export) type [^;]*;/gm, "");
  for (const [, specifier = ""] of text.matchAll(/^(?:import|\}|export)[^;]*from "([^"]+)"/gm)) {
    const name = specifier.startsWith(".") ? join(dirname(file), specifier) : specifier;
    if (loaded.has(name)) continue;
    loaded.add(name);
    if (specifier.startsWith(".")) loadedBy(name, loaded);
  }
  return loaded;
}

test("the list of kinds loads nothing that does input or output: the contract and the command line read it", () => {
  const loaded = [...loadedBy(join(import.meta.dirname, "kinds.ts"))];
  expect(loaded).toContain(join(import.meta.dirname, "pkcs11/pkcs11.ts"));
  expect(loaded.filter((name) => !name.startsWith("/"))).toEqual(["@holdfast/engine/errors"]);
});

test("a sealed secret is bound to a field that the reference has", () => {
  for (const { reference, holder } of rootKinds.filter((kind) => "holder" in kind)) {
    expect(Object.keys(reference)).toContain(holder.field);
  }
});
