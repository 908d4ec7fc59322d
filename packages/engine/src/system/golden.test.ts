import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { dateTime, enumeration, textString } from "@holdfast/ttlv";
import { expect, test } from "vitest";
import type { ManagedObject } from "../record/record.ts";
import { decodeRecord, encodeRecord } from "../record/record-codec.ts";
import { documentRecord, withDestroyed, withFields } from "./document.ts";
import { indexTerms } from "./index-terms.ts";
import {
  instanceRecord,
  kekRecord,
  regionRecord,
  systemIdentifier,
  systemTypes,
  withKekWrap,
  withRegion,
} from "./system-record.ts";

const now = { us: 1_780_000_000_000_000, region: "a" };
const later = { us: 1_790_000_000_000_000, region: "b" };
const id = "6f1f0e9e-3f0f-4b8a-8f5c-2a8d8f4c1a00";
const instance = "0f8fad5b-d9cb-469f-a165-70867728950e";
const hash = "ab".repeat(32);
const wrap = { region: "b", rootOfTrust: "hpcs", rootKeyVersion: "2", blob: Uint8Array.of(3, 4) };

const object: ManagedObject = {
  uniqueIdentifier: id,
  instance,
  objectType: 2,
  fixed: [enumeration(0x420028, 3)],
  material: {
    kekId: instance,
    nonce: new Uint8Array(12).fill(1),
    ciphertext: Uint8Array.of(1, 2, 3),
  },
  facts: {
    served: { time: 1, region: "a" },
    activated: { time: 2, region: "b" },
    compromised: { time: 3, region: "a", reasonCode: 2, message: "lost", occurred: 1 },
  },
  registers: [
    {
      ...{ tag: 0x420053, key: "", index: 0, origin: "o.1" },
      value: textString(0x420053, "key"),
      stamp: now,
    },
    { tag: 0x420001, key: "", index: 0, origin: "", value: dateTime(0x420001, 5n), stamp: later },
    { tag: 0x42002f, key: "", index: 0, origin: "", value: undefined, stamp: later },
  ],
  lastChange: 3,
};

const records: Readonly<Record<string, () => ManagedObject>> = {
  object: () => object,
  "destroyed object": () => ({
    ...object,
    material: undefined,
    facts: { ...object.facts, destroyed: { time: 4, region: "b" } },
  }),
  Instance: () => {
    const fields = {
      description: "d",
      labels: '{"team":"x"}',
      createdMs: "1780000000000",
      createdBy: "t",
      claims: '["name kmip-aa"]',
      status: "Removing",
      removedFrom: "Installed",
      removal: `{"id":"${id}","phase":"reserved","force":false,"atMs":5,"by":"t","byId":"u"}`,
      configuredMs: "1780000000001",
      restoredFrom: "old",
      "root.a": '{"type":"local"}',
      "rootNext.a": '{"type":"hpcs","instanceId":"m","rootKey":"k","name":"n"}',
      "rootLeft.a": '[{"reference":{"type":"local"},"atMs":7}]',
      "state.a":
        '{"status":"Installed","reason":"","atMs":6,"root":"n","crkState":"usable","version":"1"}',
      "keys.b": `{"keys":"open","id":"${id}","atMs":6,"by":"t"}`,
    };
    return withFields(instanceRecord({ instance, name: "kmip-aa" }, now), fields, now);
  },
  "changed Instance": () =>
    withFields(
      records["Instance"]?.() as ManagedObject,
      { name: "kmip-bb", claims: '["name kmip-bb"]', "rootNext.a": undefined, removal: undefined },
      later,
    ),
  Kek: () => {
    const kek = { id, createdMs: 1_780_000_000_123, check: Uint8Array.of(7, 8), wraps: [] };
    const own = { region: "a", rootOfTrust: "l", rootKeyVersion: "1", blob: Uint8Array.of(1) };
    const made = kekRecord({ instance, kek: { ...kek, wraps: [own] } }, true, now);
    return withKekWrap(made, wrap, later);
  },
  Region: () =>
    withRegion(
      regionRecord({ region: "eu-de", generation: 1, retired: 0 }, now),
      { retired: 1 },
      later,
    ),
  Certificate: () =>
    documentRecord(
      {
        type: systemTypes.Certificate,
        id,
        fixed: {
          ...{ instance, kind: "client", origin: "added", fingerprint: hash },
          ...{ subject: "CN=c", issuer: "CN=i", serial: "0a", createdBy: "t", pem: "PEM" },
          ...{ notBeforeMs: "-1", notAfterMs: "1790000000000", createdMs: "1780000000000" },
        },
        fields: {
          name: "vcenter",
          expiryTold: "30",
          claims: `["name ${instance} vcenter","certificate ${hash}"]`,
        },
      },
      now,
    ),
  Token: () =>
    documentRecord(
      {
        type: systemTypes.Token,
        id,
        fixed: {
          ...{ hash, role: "operator", instances: `["${instance}"]`, origin: "api" },
          ...{ createdMs: "1780000000000", createdBy: "t", expiresMs: "1790000000000" },
        },
        fields: { name: "ci", claims: '["name ci"]' },
      },
      now,
    ),
  "Token of all instances": () =>
    documentRecord(
      {
        type: systemTypes.Token,
        id,
        fixed: {
          ...{ hash, role: "manager", origin: "bootstrap" },
          ...{ createdMs: "1780000000000", createdBy: "t", expiresMs: "1790000000000" },
        },
        fields: { name: "root", claims: '["name root","first 0"]' },
      },
      now,
    ),
  User: () =>
    documentRecord(
      {
        type: systemTypes.User,
        id: systemIdentifier(systemTypes.User, `${instance}\0u`),
        fixed: { instance, name: "u" },
        fields: { hash: "sealed", setMs: "1780000000000", setBy: "t" },
      },
      now,
    ),
  "deleted User": () =>
    withFields(records["User"]?.() as ManagedObject, { hash: undefined }, later),
  Authority: () =>
    documentRecord(
      {
        type: systemTypes.Authority,
        id,
        fixed: { instance, pem: "PEM", createdMs: "1780000000000", createdBy: "t" },
        fields: { key: "sealed", claims: `["instance ${instance}"]` },
      },
      now,
    ),
  "destroyed Authority": () => withDestroyed(records["Authority"]?.() as ManagedObject, later),
  Setting: () =>
    documentRecord(
      {
        type: systemTypes.Setting,
        id: systemIdentifier(systemTypes.Setting, "refused-clients\0a\0a1"),
        fixed: { kind: "refused-clients", region: "a", node: "a1" },
        fields: { clients: "[]" },
      },
      now,
    ),
  Backup: () => {
    const run = `{"file":"/b/f","startedMs":1,"endedMs":2,"records":3,"bytes":4,"ok":true,"reason":""}`;
    return documentRecord(
      {
        type: systemTypes.Backup,
        id: systemIdentifier(systemTypes.Backup, "a"),
        fixed: { region: "a" },
        fields: { "run.0": run, "run.12": run },
      },
      now,
    );
  },
};

/** Bytes and index terms of records, as they are since format 1. */
const golden: unknown = JSON.parse(
  await readFile(join(import.meta.dirname, "testdata", "records-1.json"), "utf8"),
);

test("every kind of record has the bytes and the terms that it had", () => {
  const now = Object.entries(records).map(([name, make]) => {
    const record = make();
    const bytes = encodeRecord(record);
    expect(Buffer.from(encodeRecord(decodeRecord(bytes)))).toEqual(Buffer.from(bytes));
    const terms = indexTerms(record).map(({ term, unique }) => (unique ? `${term} unique` : term));
    return [name, { bytes: Buffer.from(bytes).toString("base64"), terms }];
  });
  expect(Object.fromEntries(now)).toEqual(golden);
});
