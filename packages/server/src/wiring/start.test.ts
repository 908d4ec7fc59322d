import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLocalRoot } from "@holdfast/root-of-trust";
import { writeNodeFiles, writeNodeSettings } from "@holdfast/testing/node-files";
import { beforeAll, describe, expect, test } from "vitest";
import { OperatorError } from "../base/operator-error.ts";
import { systemClock, systemIds } from "../base/system.ts";
import { startNode } from "./node.ts";

const folder = mkdtempSync(join(tmpdir(), "holdfast-start-"));
const file = (name: string) => join(folder, name);

beforeAll(async () => {
  await writeNodeFiles(folder);
  await createLocalRoot(file("root.key"), { clock: systemClock, ids: systemIds });
});

const peer = {
  region: "b",
  addresses: ["127.0.0.1:1"],
  listen: "127.0.0.1:0",
  tls: { ca: "server.pem", certificate: "server.pem", key: "server.key" },
};

/** Writes a configuration that differs in these settings from a good one. */
function configure(name: string, settings: object = {}): string {
  writeNodeSettings(file(name), settings);
  return name;
}

describe("a start", () => {
  test.each<[string, object, string]>([
    ["an unknown setting", { kmpi: {} }, "FOLDER/bad.yaml:1: kmpi is not a setting"],
    [
      "a key of another certificate",
      { tls: { certificate: "server.pem", key: "other.key" } },
      "tls.key: FOLDER/other.key is not the key of tls.certificate FOLDER/server.pem",
    ],
    [
      "a certificate that is not there",
      { tls: { certificate: "no.pem", key: "server.key" } },
      "tls.certificate: FOLDER/no.pem: no such file",
    ],
    [
      "a client certificate that is not there",
      { instances: [{ name: "x", certificates: ["no.pem"] }] },
      "instances[0].certificates[0]: FOLDER/no.pem: no such file",
    ],
    [
      "a peer certificate that is not there",
      { peer: { ...peer, tls: { ca: "server.pem", certificate: "no.pem", key: "server.key" } } },
      "peer.tls.certificate: FOLDER/no.pem: no such file",
    ],
    [
      "a peer certificate that names no region",
      { peer },
      "peer.tls.certificate: FOLDER/server.pem: holds no name of a region; issue one for region a, with the DNS name a.peer.holdfast",
    ],
    ["a root key that is not there", { rootOfTrust: { file: "no.key" } }, "rootOfTrust.file: "],
    [
      "a password that is not there",
      { store: { address: "127.0.0.1:1", passwordEnv: "NO_SUCH" } },
      "store.passwordEnv: the variable NO_SUCH is not set",
    ],
    [
      "ticket keys that are none",
      { tls: { certificate: "server.pem", key: "server.key", ticketKeysFile: "server.key" } },
      "tls.ticketKeysFile: FOLDER/server.key: must hold 48 bytes",
    ],
    ["a Redis that is not there", {}, "store.address: 127.0.0.1:1: "],
  ])("%s is a fault of one line", async (_name, settings, message) => {
    const start = startNode(file(configure("bad.yaml", settings)), {});
    await expect(start).rejects.toThrow(OperatorError);
    const says = await start.catch((error: Error) => error.message);
    expect(String(says).startsWith(message.replaceAll("FOLDER", folder)), String(says)).toBe(true);
    expect(says).not.toContain("\n");
  });
});
