import { X509Certificate } from "node:crypto";
import { documentRecord, type ManagedObject, systemTypes, withDestroyed } from "@holdfast/engine";
import { selfSigned } from "@holdfast/testing/pki";
import { expect, test } from "vitest";
import { Trust } from "../../access/trust.ts";
import { systemIds as ids } from "../../base/system.ts";
import { InstanceIndex } from "../instance-index.ts";
import { certificateFixed } from "./certificate-entry.ts";
import { RecordedTrust } from "./recorded-trust.ts";

const now = (us: number) => ({ us, region: "a" });

/** A view that a test fills. */
class Viewed {
  readonly #listeners: ((changed: readonly ManagedObject[]) => void)[] = [];
  readonly objects: ManagedObject[] = [];

  records(): Iterable<ManagedObject> {
    return this.objects;
  }

  onChange(listener: (changed: readonly ManagedObject[]) => void): () => void {
    this.#listeners.push(listener);
    return () => undefined;
  }

  tell(...changed: readonly ManagedObject[]): void {
    for (const listener of this.#listeners) listener(changed);
  }
}

test("with 10,000 certificates, one more costs what it costs with few", async () => {
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
    const fields = { name: `c${at}` };
    const document = { type: systemTypes.Certificate, id: ids.uuid(), fields };
    return documentRecord({ ...document, fixed: { ...fixed, fingerprint } }, now(1));
  };
  const view = new Viewed();
  view.objects.push(
    documentRecord(
      {
        type: systemTypes.Instance,
        id: ids.uuid(),
        fixed: { instance },
        fields: { name: "kmip-aa", status: "Installed" },
      },
      now(1),
    ),
    ...Array.from({ length: 10_000 }, (_, at) => entry(at)),
  );
  using index = new InstanceIndex(view);
  const trust = new Trust();
  let changes = 0;
  using _ = new RecordedTrust({
    ...{ trust, index, isDeclared: () => false, observe: () => undefined },
    keyRing: { open: () => new Uint8Array() },
    changed: () => {
      changes += 1;
    },
  });
  const digests = new Set([trust.digest]);
  const more = Array.from({ length: 200 }, (_each, at) => entry(20_000 + at));
  for (const one of more) {
    view.tell(one);
    digests.add(trust.digest);
  }
  expect(digests.size).toBe(201);
  expect(changes).toBe(200);
  // Whatever the order in which certificates came and went, the same ones have the same digest.
  const before = trust.digest;
  const gone = withDestroyed(more[7] as ManagedObject, now(5_000_000));
  view.tell(gone);
  expect(trust.digest).not.toBe(before);
  const again = { ...(more[7] as ManagedObject), uniqueIdentifier: ids.uuid() };
  view.tell(again);
  expect(trust.digest).toBe(before);
});
