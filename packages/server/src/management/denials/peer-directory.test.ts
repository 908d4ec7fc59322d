import { expect, test } from "vitest";
import { PeerDirectory, type PeerNode } from "./peer-directory.ts";

const own = { region: "a", node: "a1", fingerprint: "aa", endsMs: 86_400_000 };
const other = (node: string, fingerprint: string): PeerNode => ({
  ...{ region: "b", node, fingerprint, endsMs: 0 },
});

test("lists the own certificate and those of the nodes that were connected, with what became of them", () => {
  let connected: readonly PeerNode[] = [other("b2", "b2"), other("b1", "b1")];
  const denied = new Set<string>();
  const directory = new PeerDirectory({
    own: () => own,
    connected: () => connected,
    denies: (fingerprint) => denied.has(fingerprint),
  });
  const shown = () => directory.list().map(({ node, state }) => `${node} ${state}`);
  expect(shown()).toEqual(["a1 own", "b1 connected", "b2 connected"]);
  expect(directory.list()[0]).toMatchObject({ region: "a", notAfter: "1970-01-02T00:00:00.000Z" });
  denied.add("b1");
  connected = [];
  expect(shown()).toEqual(["a1 own", "b1 denied", "b2 gone"]);
  // A new certificate of the node is another entry.
  connected = [other("b1", "new")];
  expect(shown()).toEqual(["a1 own", "b1 denied", "b1 connected", "b2 gone"]);
  expect(directory.nameOf("b1")).toBe("b1 of region b");
  expect(directory.nameOf("aa")).toBe("a1 of region a");
  expect(directory.nameOf("cc")).toBeUndefined();
});

test("remembers a bounded number of certificates", () => {
  let connected: readonly PeerNode[] = [];
  const directory = new PeerDirectory({
    ...{ own: () => undefined, connected: () => connected, denies: () => false },
  });
  for (let at = 0; at < 300; at += 1) {
    connected = [other("b1", String(at))];
    directory.look();
  }
  expect(directory.list()).toHaveLength(256);
  expect(directory.nameOf("0")).toBeUndefined();
  expect(directory.nameOf("299")).toBe("b1 of region b");
});
