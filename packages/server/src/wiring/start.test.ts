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
  regionKeyFile: "region.key",
  keys: ["other.pub"],
};

/** Writes a configuration that differs in these settings from a good one. */
function configure(name: string, settings: object = {}): string {
  writeNodeSettings(file(name), settings);
  return name;
}

describe("a start", () => {
  test.each<[string, object, string, OperatorError["exit"]?]>([
    ["an unknown setting", { kmpi: {} }, "FOLDER/bad.yaml:1: kmpi is not a setting"],
    [
      "a key of another certificate",
      { tls: { certificate: "server.pem", key: "other.key" } },
      "tls.key: FOLDER/other.key is not the key of tls.certificate FOLDER/server.pem",
    ],
    [
      "a missing certificate",
      { tls: { certificate: "no.pem", key: "server.key" } },
      "tls.certificate: FOLDER/no.pem: no such file",
    ],
    [
      "a missing client certificate",
      { instances: [{ name: "x", certificates: ["no.pem"] }] },
      "instances[0].certificates[0]: FOLDER/no.pem: no such file",
    ],
    [
      "a missing peer certificate",
      { peer: { ...peer, tls: { ca: "server.pem", certificate: "no.pem", key: "server.key" } } },
      "peer.tls.certificate: FOLDER/no.pem: no such file",
    ],
    [
      "a peer certificate that names no region",
      { peer },
      "peer.tls.certificate: FOLDER/server.pem: holds no name of a region; issue one for node a1 of region a, with the DNS names a.peer.holdfast and a1.a.peer.holdfast",
    ],
    ["a missing root key", { rootOfTrust: { file: "no.key" } }, "rootOfTrust.file: "],
    [
      "a missing password",
      { store: { address: "127.0.0.1:1", passwordEnv: "NO_SUCH" } },
      "store.passwordEnv: the variable NO_SUCH is not set",
    ],
    ["an unreachable Redis", {}, "store.address: 127.0.0.1:1: ", "again"],
  ])(
    "with %s fails with an error of one line",
    async (_name, settings, message, exit = "wrong") => {
      const start = startNode(file(configure("bad.yaml", settings)), {});
      await expect(start).rejects.toThrow(OperatorError);
      await expect(start).rejects.toMatchObject({ exit });
      const says = await start.catch((error: Error) => error.message);
      expect(String(says).startsWith(message.replaceAll("FOLDER", folder)), String(says)).toBe(
        true,
      );
      expect(says).not.toContain("\n");
    },
  );
});
