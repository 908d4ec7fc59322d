import { expect, test } from "vitest";
import { commandLine } from "./command-line.ts";
import type { Operation, Schema } from "./contract.ts";
import { operationsOf } from "./contract-data.ts";

const operations = operationsOf() as Readonly<Record<string, Operation>>;
const marker = "MARKER-0f3c";

function resolved({ $ref, ...rest }: Schema, { $defs = {} }: Schema): Schema {
  return $ref === undefined ? rest : ($defs[$ref.replace("#/$defs/", "")] ?? {});
}

/** The schema of a root of trust in a body. */
function rootSchema({ properties = {} }: Schema, kind: string): Schema | undefined {
  if (kind === "lookup") return properties["root"];
  const regions =
    kind === "regions" ? properties["regions"] : properties[kind]?.properties?.["regions"];
  const each = regions?.additionalProperties;
  return typeof each === "object" ? each : undefined;
}

/** A root of trust of each kind, with the marker in each of its secrets. */
function rootsWithSecrets(body: Schema, kind: string): readonly object[] {
  const { oneOf, anyOf } = resolved(rootSchema(body, kind) ?? {}, body);
  return (oneOf ?? anyOf ?? []).map(({ properties = {} }) =>
    Object.fromEntries(
      Object.entries(properties).map(([name, field]) => {
        const isSecret = (field.anyOf ?? field.oneOf) !== undefined;
        return [name, isSecret ? { value: marker } : (field.const ?? "plain")] as const;
      }),
    ),
  );
}

/** Requests with the marker in everything that the contract calls a secret or a file. */
function requestsOf({ body = {}, command }: Operation): readonly object[] {
  const { secrets = [], files = {}, roots } = command;
  const fields = [...secrets, ...Object.keys(files)].map((name) => [name, marker] as const);
  const plain = fields.length === 0 ? [] : [Object.fromEntries(fields)];
  if (roots === undefined) return plain;
  return rootsWithSecrets(body, roots).flatMap((root): object | readonly object[] => {
    if (roots === "lookup") return [{ root }, { root, region: "a" }];
    const regions = { a: root, b: root };
    return roots === "regions" ? { regions } : { rootOfTrust: { regions } };
  });
}

test("no command line has a secret in it", () => {
  const seen = new Set<string>();
  for (const operation of Object.values(operations)) {
    for (const body of requestsOf(operation)) {
      if (JSON.stringify(body).includes(marker)) seen.add(operation.name);
      const line = commandLine(operation, { body });
      expect(line, operation.name).not.toContain(marker);
      expect(line, operation.name).not.toMatch(/undefined|\[object/);
    }
  }
  for (const name of ["createInstance", "configureRoot", "retrieveRootKeys", "setUser"]) {
    expect(seen).toContain(name);
  }
});

const lookup = operations["retrieveRootKeys"] as Operation;
const keyProtect = { type: "key-protect", instanceId: "I" };

test.each([
  [
    { root: { ...keyProtect, apiKey: { value: marker } } },
    "REGION:key-protect,instanceId=I,apiKey=@FILE",
  ],
  [
    { root: { ...keyProtect, apiKey: { env: "KEY" } }, region: "b" },
    "b:key-protect,instanceId=I,apiKey=env:KEY",
  ],
  [
    { root: { ...keyProtect, apiKey: { file: "key" } }, region: "b" },
    "b:key-protect,instanceId=I,apiKey=file:key",
  ],
])("a lookup of root keys is one --root: %j", (body, root) => {
  expect(commandLine(lookup, { body })).toBe(`holdfast root-of-trust retrieve --root ${root}`);
});

test("a form that nobody has filled in has no --root", () => {
  for (const body of [{}, { root: undefined, region: "a" }]) {
    expect(commandLine(lookup, { body })).toBe("holdfast root-of-trust retrieve");
  }
});
