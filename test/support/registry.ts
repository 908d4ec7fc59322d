import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

/** A package's manifest, as far as tests need it. */
interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

/** A registry of npm packages on loopback, for real npm and pnpm. */
export interface TestRegistry extends AsyncDisposable {
  readonly url: string;
  /**
   * Publishes one version of a package; `files` are programs, by path.
   * @returns the package's integrity (SHA-512, in base64)
   */
  publish(
    manifest: Manifest,
    files?: Readonly<Record<string, string>>,
    publishedMs?: number,
  ): string;
}

/** Starts a registry without packages. */
export async function startRegistry(): Promise<TestRegistry> {
  const documents = new Map<string, { readonly type: string; readonly body: string | Buffer }>();
  const server = createServer((request, response) => {
    const found = documents.get(decodeURIComponent(request.url ?? ""));
    response.writeHead(found === undefined ? 404 : 200, { "content-type": found?.type ?? "" });
    response.end(request.method === "HEAD" ? undefined : found?.body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}/`;
  return {
    url,
    publish: (manifest, files = {}, publishedMs = 0) => {
      const { name, version } = manifest;
      const tarball = tarballOf({ ...files, "package.json": JSON.stringify(manifest) });
      const integrity = `sha512-${createHash("sha512").update(tarball).digest("base64")}`;
      const path = `/${name}/-/${version}.tgz`;
      const published = new Date(publishedMs).toISOString();
      const packument = {
        name,
        "dist-tags": { latest: version },
        versions: {
          [version]: { ...manifest, dist: { integrity, tarball: `${url}${path.slice(1)}` } },
        },
        time: { created: published, modified: published, [version]: published },
      };
      documents.set(path, { type: "application/octet-stream", body: tarball });
      documents.set(`/${name}`, { type: "application/json", body: JSON.stringify(packument) });
      return integrity;
    },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function tarballOf(files: Readonly<Record<string, string>>): Buffer {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-tarball-"));
  try {
    for (const [path, text] of Object.entries(files)) {
      const file = join(folder, "package", path);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, text, { mode: 0o755 });
    }
    return execFileSync("tar", ["-czf", "-", "-C", folder, "package"]);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
