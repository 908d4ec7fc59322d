import { randomUUID } from "node:crypto";
import {
  type KindName,
  type ManagedObject,
  makeRecord,
  type NewRecord,
  readRecord,
  type SystemRecord,
} from "@holdfast/engine";
import { RecordIndex } from "../records/record-index.ts";

/** A record as decoded from its bytes. */
export function systemRecord<Kind extends KindName>(
  kind: Kind,
  values: NewRecord<Kind>,
  id: string = randomUUID(),
): SystemRecord<Kind> {
  const record = readRecord(kind, makeRecord(kind, id, values, { us: 1, region: "a" }));
  if (record === undefined) throw new Error(`a record of type ${kind} is not valid`);
  return record;
}

/** The fields of every token's record. */
export const tokenValues = {
  hash: "00".repeat(32),
  role: ["viewer"],
  labels: undefined,
  instances: undefined,
  createdMs: 1,
  createdBy: "t",
  expiresMs: 2,
  origin: "api",
} as const;

/** The fields of every certificate's record. */
export const certificateValues = {
  kind: "client",
  origin: "added",
  fingerprint: "00".repeat(32),
  subject: "CN=c",
  issuer: "CN=i",
  serial: "01",
  notBeforeMs: 1,
  notAfterMs: 2,
  createdMs: 1,
  createdBy: "t",
  pem: "PEM",
} as const;

/** A view of system records that a test fills. */
export class TestView extends RecordIndex {
  readonly freshAtMs = 0;
  readonly #objects = new Map<string, ManagedObject>();
  readonly #listeners = new Set<(changed: readonly ManagedObject[]) => void>();

  record(id: string): ManagedObject | undefined {
    return this.#objects.get(id);
  }

  records(): Iterable<ManagedObject> {
    return this.#objects.values();
  }

  onChange(listener: (changed: readonly ManagedObject[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async refresh(): Promise<void> {}

  take(objects: readonly ManagedObject[]): void {
    for (const object of objects) {
      this.#objects.set(object.uniqueIdentifier, object);
      this.put(object);
    }
    for (const listener of this.#listeners) listener(objects);
  }
}
