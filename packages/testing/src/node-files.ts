import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createAuthority, selfSigned } from "./pki.ts";

/** Writes the certificates and keys that `writeNodeSettings` names into a folder. */
export async function writeNodeFiles(folder: string): Promise<void> {
  const file = (name: string) => join(folder, name);
  const since = { notBeforeMs: Date.now() - 1000, days: 90 };
  const authority = await createAuthority({ commonName: "CA", ...since });
  const server = await authority.issue({ commonName: "node", ...since });
  const client = await selfSigned({ commonName: "client", ...since });
  writeFileSync(file("server.pem"), server.certificate);
  writeFileSync(file("server.key"), server.key, { mode: 0o600 });
  writeFileSync(file("client.pem"), client.certificate);
  writeFileSync(file("other.key"), client.key);
}

/** Writes a valid configuration of a node, with these settings in place of its own. */
export function writeNodeSettings(path: string, settings: object): void {
  const good = {
    region: "a",
    node: "a1",
    kmip: { listen: "127.0.0.1:0" },
    http: { listen: "127.0.0.1:0" },
    health: { listen: "127.0.0.1:0" },
    tls: { certificate: "server.pem", key: "server.key" },
    store: { address: "127.0.0.1:1", commandTimeoutMs: 200 },
    rootOfTrust: { file: "root.key" },
    audit: { file: { path: "audit.log" } },
    instances: [{ name: "demo", certificates: ["client.pem"] }],
  };
  writeFileSync(path, JSON.stringify({ ...good, ...settings }));
}
