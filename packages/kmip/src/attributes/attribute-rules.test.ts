import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { isVersion1, type Version, versions } from "../schema/version.ts";
import { attributeByName, attributeVisible } from "./attribute-lookup.ts";
import type { AttributeRow, ObjectTypeName } from "./attribute-row.ts";
import { attributes } from "./attributes.ts";

const corpus =
  process.env["KMIP_CORPUS"] ?? join(import.meta.dirname, "../../../../../shared/oasis");
const specification = (version: Version) => join(corpus, `spec/kmip-spec-${version}.md`);
const there = versions.every((version) => existsSync(specification(version)));

/** The cells of one attribute's table of rules, by the first cell of their line in lower case. */
type Cells = ReadonlyMap<string, string>;

const cellsOf = (line: string) =>
  line
    .split("|")
    .slice(1, -1)
    .map((cell) => cell.trim());

/** The tables of rules of a specification, by their heading. */
function rulesOf(version: Version): ReadonlyMap<string, Cells> {
  const found = new Map<string, Cells>();
  let heading = "";
  let lines: string[][] = [];
  for (const line of readFileSync(specification(version), "utf8").split("\n")) {
    if (line.startsWith("|")) {
      lines.push(cellsOf(line));
      continue;
    }
    const isRules = lines[0]?.[0]?.toLowerCase() === "shall always have a value";
    if (isRules) {
      const cells = new Map(lines.map(([name = "", value = ""]) => [name.toLowerCase(), value]));
      const explains = cells.get("initially set by")?.startsWith("Who") === true;
      if (cells.has("applies to object types") && !explains) found.set(heading, cells);
    }
    lines = [];
    const [, title] = /^#*\s*\d+\.\d+\s+(.+)$/.exec(line) ?? [];
    if (title !== undefined && line.startsWith("#")) heading = title.replace(/\*/g, "").trim();
  }
  return found;
}

const cryptographic = [
  "Certificate",
  "PGPKey",
  "PrivateKey",
  "PublicKey",
  "SecretData",
  "SplitKey",
  "SymmetricKey",
] as const;
const keys = ["PGPKey", "PrivateKey", "PublicKey", "SplitKey", "SymmetricKey"] as const;

/** The object types that the words of the tables stand for. */
const words: Readonly<Record<string, readonly ObjectTypeName[]>> = {
  "all cryptographic objects": cryptographic,
  "managed cryptographic objects": cryptographic,
  "opaque object": ["OpaqueObject"],
  "opaque objects": ["OpaqueObject"],
  templates: ["Template"],
  keys,
  "pgp keys": ["PGPKey"],
  certificates: ["Certificate"],
  "x.509 certificates": ["Certificate"],
  "asymmetric keys": ["PrivateKey", "PublicKey"],
  "public keys": ["PublicKey"],
  "private keys": ["PrivateKey"],
  "private key": ["PrivateKey"],
  "symmetric key": ["SymmetricKey"],
  "symmetric keys": ["SymmetricKey"],
  "split key": ["SplitKey"],
  "split keys of symmetric keys": ["SplitKey"],
  "secret data": ["SecretData"],
};

function objectTypesOf(text: string): readonly string[] | "all" {
  if (text === "All Objects") return "all";
  const types = text.split(",").flatMap((word) => {
    const meant = words[word.trim().toLowerCase()];
    if (meant === undefined) throw new Error(`object types: ${word}`);
    return meant;
  });
  return [...new Set(types)].sort();
}

function ourTypes(row: AttributeRow, version: Version): readonly string[] | "all" {
  const types = (isVersion1(version) ? row.objectTypes1 : undefined) ?? row.objectTypes;
  return types === "all" ? types : [...types].sort();
}

/** Attributes for which our table allows more than 1.x, on purpose. */
const wider: Readonly<Record<string, string>> = {
  "Lease Time": "test cases show it for Templates",
  "Cryptographic Algorithm": "kept for Secret Data too, as 2.0 does",
  "Cryptographic Length": "Create of Secret Data needs it from 1.4 on",
  "Digital Signature Algorithm": "1.1 has no PGP Key yet",
};

function setByOf(text: string): string {
  const [server, client] = [/server/i.test(text), /client/i.test(text)];
  return server && client ? "either" : server ? "server" : "client";
}

const yes = (text: string | undefined) => /^yes/i.test(text ?? "");

function rowOf(heading: string): AttributeRow | undefined {
  if (heading === "Custom Attribute") return attributes.VendorAttribute;
  if (heading === "Certificate Attributes") return attributes.CertificateSubjectCN;
  return attributeByName(heading);
}

describe.skipIf(!there).each(versions)("the rules of KMIP %s (needs KMIP_CORPUS)", (version) => {
  const rules = there ? rulesOf(version) : new Map<string, Cells>();

  test("are the same as in the table", () => {
    expect(rules.size).toBeGreaterThan(30);
    for (const [heading, cells] of rules) {
      const row = rowOf(heading);
      const said = {
        name: heading,
        setBy: setByOf(cells.get("initially set by") ?? ""),
        modifiable: yes(cells.get("modifiable by client")),
        deletable: yes(cells.get("deletable by client")),
        multi: yes(cells.get("multiple instances permitted")),
      };
      const { setBy, modifiable, deletable, multi } = row ?? {};
      expect({ name: heading, setBy, modifiable, deletable, multi }).toEqual(said);
      const types = objectTypesOf(cells.get("applies to object types") ?? "");
      const leftOut = isVersion1(version) && heading in wider;
      if (row !== undefined && !leftOut) expect(ourTypes(row, version), heading).toEqual(types);
    }
  });

  test("name exactly the attributes that the table has for the version", () => {
    const text = readFileSync(specification(version), "utf8");
    const chapter = isVersion1(version) ? 3 : 4;
    const pattern = new RegExp(`^#*\\s*${chapter}\\.\\d+\\s+(\\S.*)$`, "gm");
    const sections = new Set(
      [...text.matchAll(pattern)].map(([, title = ""]) => title.replace(/\*/g, "").trim()),
    );
    for (const row of Object.values(attributes) as readonly AttributeRow[]) {
      const field = row.section === "4.6";
      const custom = row.tag === attributes.VendorAttribute.tag;
      const title = custom && isVersion1(version) ? "Custom Attribute" : row.name;
      // 1.4 has tags for the fields of a certificate, and test cases, but no section yet.
      const said = field ? version >= "1.4" : sections.has(title);
      expect(attributeVisible(row.tag, version), row.name).toBe(said);
    }
  });
});
