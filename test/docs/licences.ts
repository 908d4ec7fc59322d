import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeBundle } from "../../scripts/build/bundle.ts";
import { packageAt } from "../../scripts/build/contents.ts";
import { allowed } from "../../scripts/build/licences.ts";

const root = join(import.meta.dirname, "..", "..");

/** docs/licences.md: the packages in the bundle, the add-on and the Node programs beside it, with their licences. */
export async function licences(): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-licences-"));
  try {
    const bundled = await makeBundle(folder);
    const addOn = packageAt(join(root, "packages/root-of-trust/node_modules/pkcs11js"));
    return page([...bundled, addOn, ...nodes()]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Row {
  readonly name: string;
  readonly version: string;
  readonly license: string;
}

function nodes(): readonly Row[] {
  const lock = readFileSync(join(root, "scripts/build/node/package-lock.json"), "utf8");
  const packages: Readonly<Record<string, Omit<Row, "name">>> = JSON.parse(lock).packages;
  return Object.entries(packages).flatMap(([path, { version, license }]) =>
    path === "" ? [] : [{ name: path.replace("node_modules/", ""), version, license }],
  );
}

function page(rows: readonly Row[]): string {
  const counts = [...Map.groupBy(rows, ({ license }) => license)]
    .map(([license, some]) => `${some.length} × ${license}`)
    .toSorted();
  return `# Licences

<!-- npm run docs makes this page from the bundle. -->

Holdfast itself has the [Apache License 2.0](../LICENSE). These are the packages whose code is in its installations: in the
bundle, the native add-on \`pkcs11js\`, and the Node program of each system (an installation has one of them). Each
installation has the texts of their licences in \`THIRD-PARTY-LICENSES.txt\`, and the list of its own packages in
\`sbom.cdx.json\` ([supply chain](supply-chain.md)).

A build stops at a package that has none of these licences: ${allowed.join(", ")}.
Where a package may be used under one of several licences, one of them must be in this list.

${counts.join(", ")}.

| package | version | licence |
|---|---|---|
${rows.map(({ name, version, license }) => `| \`${name}\` | ${version} | ${license} |`).join("\n")}
`;
}
