import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { rootKinds } from "./kinds.ts";

/** The modules that a file imports statically, and those that they import; type imports do not count. */
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

test("the list of kinds imports no module that does I/O: the contract and the command line import it", () => {
  const loaded = [...loadedBy(join(import.meta.dirname, "kinds.ts"))];
  expect(loaded).toContain(join(import.meta.dirname, "pkcs11/pkcs11.ts"));
  expect(loaded.filter((name) => !name.startsWith("/"))).toEqual(["@holdfast/engine/errors"]);
});

test("every kind with a holder names a field of its reference", () => {
  for (const { reference, holder } of rootKinds.filter((kind) => "holder" in kind)) {
    expect(Object.keys(reference)).toContain(holder.field);
  }
});
