import { X509Certificate } from "node:crypto";
import { type ManagedObject, makeRecord, withDestroyed } from "@holdfast/engine";
import { selfSigned } from "@holdfast/testing/pki";
import { expect, test } from "vitest";
import { Trust } from "../../access/trust.ts";
import { systemIds as ids } from "../../base/system.ts";
import { TestView } from "../../testing/system-records.ts";
import { certificateFixed } from "./certificate-values.ts";
import { RecordedTrust } from "./recorded-trust.ts";

const now = (us: number) => ({ us, region: "a" });

test("each change among 10,000 certificates changes the digest, which does not depend on their order", async () => {
  const made = await selfSigned({ commonName: "c", notBeforeMs: Date.now() - 1000, days: 9 });
  const certificate = new X509Certificate(made.certificate);
  const instance = ids.uuid();
  const about = {
    instance,
    kind: "client",
    origin: "added",
    createdMs: 1,
    createdBy: "t",
  } as const;
  const fixed = certificateFixed(certificate, about);
  const entry = (at: number): ManagedObject => {
    const fingerprint = at.toString(16).padStart(64, "0");
    const values = { ...fixed, fingerprint, name: `c${at}` };
    return makeRecord("Certificate", ids.uuid(), values, now(1));
  };
  const view = new TestView();
  const values = { instance, name: "kmip-aa", status: "Installed" } as const;
  view.take([
    makeRecord("Instance", ids.uuid(), values, now(1)),
    ...Array.from({ length: 10_000 }, (_, at) => entry(at)),
  ]);
  const trust = new Trust();
  let changes = 0;
  using _ = new RecordedTrust({
    ...{ trust, view, isDeclared: () => false, observe: () => undefined },
    keyRing: { open: () => new Uint8Array() },
    changed: () => {
      changes += 1;
    },
  });
  const digests = new Set([trust.digest]);
  const more = Array.from({ length: 200 }, (_each, at) => entry(20_000 + at));
  for (const one of more) {
    view.take([one]);
    digests.add(trust.digest);
  }
  expect(digests.size).toBe(201);
  expect(changes).toBe(200);
  // The same certificates have the same digest, in whatever order they were added and deleted.
  const before = trust.digest;
  const gone = withDestroyed(more[7] as ManagedObject, now(5_000_000));
  view.take([gone]);
  expect(trust.digest).not.toBe(before);
  const again = { ...(more[7] as ManagedObject), uniqueIdentifier: ids.uuid() };
  view.take([again]);
  expect(trust.digest).toBe(before);
});
