import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { dateTime, enumeration, textString } from "@holdfast/ttlv";
import { expect, test } from "vitest";
import type { ManagedObject } from "../record/record.ts";
import { decodeRecord, encodeRecord } from "../record/record-codec.ts";
import { indexTerms } from "./index-terms.ts";
import { recordKinds } from "./kinds.ts";
import {
  changeRecord,
  makeRecord,
  markedIdentifier,
  systemIdentifier,
  withDestroyed,
} from "./system-record.ts";
import { kekRecord, withKekWrap } from "./wrapped-kek.ts";

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
  Instance: () =>
    makeRecord(
      "Instance",
      systemIdentifier("Instance", instance),
      {
        ...{ instance, name: "kmip-aa", description: "d", labels: { team: "x" } },
        ...{ createdMs: 1_780_000_000_000, createdBy: "t", claims: [["name", "kmip-aa"]] },
        ...{ status: "Removing", removedFrom: "Installed", configuredMs: 1_780_000_000_001 },
        removal: { id, phase: "reserved", force: false, atMs: 5, by: "t", byId: "u" },
        restoredFrom: "old",
        root: { a: { type: "local" } },
        rootNext: { a: { type: "hpcs", instanceId: "m", rootKey: "k", name: "n" } },
        rootLeft: { a: [{ reference: { type: "local" }, atMs: 7 }] },
        state: {
          a: {
            ...{ status: "Installed", reason: "", atMs: 6, root: "n" },
            ...{ crkState: "usable", version: "1" },
          },
        },
        shredded: { b: { id, atMs: 6, by: "t" } },
        opened: { b: { id, atMs: 6, by: "t", ends: id } },
        revalidated: { id, atMs: 6, by: "t" },
      },
      now,
    ),
  "Instance that keeps its keys": () =>
    makeRecord(
      "Instance",
      systemIdentifier("Instance", instance),
      { instance, name: "kmip-cc", destroyOverKmip: "refused" },
      now,
    ),
  "changed Instance": () =>
    changeRecord(
      "Instance",
      records["Instance"]?.() as ManagedObject,
      {
        ...{ name: "kmip-bb", claims: [["name", "kmip-bb"]], removal: undefined },
        rootNext: { a: undefined },
      },
      later,
    ),
  Kek: () => {
    const kek = { id, createdMs: 1_780_000_000_123, check: Uint8Array.of(7, 8), wraps: [] };
    const own = { region: "a", rootOfTrust: "l", rootKeyVersion: "1", blob: Uint8Array.of(1) };
    const made = kekRecord({ instance, kek: { ...kek, wraps: [own] } }, true, now);
    return withKekWrap(made, wrap, later);
  },
  Region: () => {
    const region = { region: "eu-de", generation: 1, retired: 0 };
    const made = makeRecord("Region", systemIdentifier("Region", "eu-de"), region, now);
    return changeRecord("Region", made, { retired: 1 }, later);
  },
  Certificate: () =>
    makeRecord(
      "Certificate",
      id,
      {
        ...{ instance, kind: "client", origin: "added", fingerprint: hash },
        ...{ subject: "CN=c", issuer: "CN=i", serial: "0a", createdBy: "t", pem: "PEM" },
        ...{ notBeforeMs: -1, notAfterMs: 1_790_000_000_000, createdMs: 1_780_000_000_000 },
        ...{ name: "vcenter", expiryTold: 30 },
        claims: [
          ["name", instance, "vcenter"],
          ["certificate", hash],
        ],
      },
      now,
    ),
  Token: () =>
    makeRecord(
      "Token",
      id,
      {
        ...{ hash, role: ["operator"], instances: [instance], labels: undefined, origin: "api" },
        ...{ createdMs: 1_780_000_000_000, createdBy: "t", expiresMs: 1_790_000_000_000 },
        ...{ name: "ci", claims: [["name", "ci"]] },
      },
      now,
    ),
  "limited Certificate": () =>
    changeRecord(
      "Certificate",
      records["Certificate"]?.() as ManagedObject,
      { operations: ["vsphere", "Locate"] },
      later,
    ),
  "Token of two roles and some labels": () =>
    makeRecord(
      "Token",
      id,
      {
        ...{ hash, role: ["auditor", "operator"], instances: undefined, origin: "api" },
        labels: { group: "finance" },
        ...{ createdMs: 1_780_000_000_000, createdBy: "t", expiresMs: 1_790_000_000_000 },
        ...{ name: "ci", claims: [["name", "ci"]] },
      },
      now,
    ),
  "Token of all instances": () =>
    makeRecord(
      "Token",
      id,
      {
        ...{
          hash,
          role: ["manager"],
          instances: undefined,
          labels: undefined,
          origin: "bootstrap",
        },
        ...{ createdMs: 1_780_000_000_000, createdBy: "t", expiresMs: 1_790_000_000_000 },
        name: "root",
        claims: [
          ["name", "root"],
          ["first", "0"],
        ],
      },
      now,
    ),
  User: () =>
    makeRecord(
      "User",
      systemIdentifier("User", `${instance}\0u`),
      { instance, name: "u", hash: "sealed", setMs: 1_780_000_000_000, setBy: "t" },
      now,
    ),
  "limited User": () =>
    changeRecord(
      "User",
      records["User"]?.() as ManagedObject,
      { operations: ["read-only"] },
      later,
    ),
  "deleted User": () =>
    changeRecord("User", records["User"]?.() as ManagedObject, { hash: undefined }, later),
  Authority: () =>
    makeRecord(
      "Authority",
      id,
      {
        ...{ instance, pem: "PEM", createdMs: 1_780_000_000_000, createdBy: "t" },
        ...{ key: "sealed", claims: [["instance", instance]] },
      },
      now,
    ),
  "destroyed Authority": () => withDestroyed(records["Authority"]?.() as ManagedObject, later),
  Setting: () =>
    makeRecord(
      "Setting",
      systemIdentifier("Setting", "refused-clients\0a\0a1"),
      { kind: "refused-clients", region: "a", node: "a1", clients: "[]" },
      now,
    ),
  Deny: () =>
    makeRecord(
      "Deny",
      markedIdentifier("Deny", id),
      {
        ...{ match: "serial 0a0b cn=vmca,o=x", reason: "host was stolen" },
        ...{ createdMs: 1_780_000_000_000, createdBy: "t" },
      },
      now,
    ),
  ApprovalPolicy: () =>
    makeRecord(
      "ApprovalPolicy",
      markedIdentifier("ApprovalPolicy", id),
      {
        ...{ text: "policy", signatures: "line", createdMs: 1_780_000_000_000, createdBy: "t" },
        ...{ cancelled: "line", seen: { a: 6 }, claims: [["version", "1"]] },
      },
      now,
    ),
  ApprovalRequest: () => {
    const use = { state: "begun", requestId: id, region: "a", node: "a1", atMs: 1 } as const;
    const values = {
      ...{ text: "request", call: "{}", createdMs: 1_780_000_000_000, createdBy: "t" },
      asker: "lead",
    } as const;
    const signature = { key: { line: "line", atMs: 1, by: "t" } };
    return makeRecord("ApprovalRequest", id, { ...values, signature, use }, now);
  },
  ConsoleKey: () =>
    makeRecord(
      "ConsoleKey",
      id,
      {
        createdMs: 1_780_000_000_000,
        key: `${"A".repeat(43)}=`,
        ended: { process: { session: 1_780_000_000_001 } },
      },
      now,
    ),
  "deleted ConsoleKey": () => {
    const made = records["ConsoleKey"]?.() as ManagedObject;
    const empty = { key: undefined, ended: { process: undefined } };
    return withDestroyed(changeRecord("ConsoleKey", made, empty, later), later);
  },
  Backup: () => {
    const run = {
      ...{ file: "/b/f", startedMs: 1, endedMs: 2, records: 3, bytes: 4, ok: true, reason: "" },
    };
    const values = { region: "a", run: { 0: run, 12: run } };
    return makeRecord("Backup", systemIdentifier("Backup", "a"), values, now);
  },
};

/** Bytes and index terms of records, as they have been since format 1. */
const golden: unknown = JSON.parse(
  await readFile(join(import.meta.dirname, "testdata", "records-1.json"), "utf8"),
);

test("every kind of system record has an example", () => {
  expect(Object.keys(recordKinds).filter((kind) => records[kind] === undefined)).toEqual([]);
});

test("every kind of record keeps its bytes and its terms", () => {
  const now = Object.entries(records).map(([name, make]) => {
    const record = make();
    const bytes = encodeRecord(record);
    expect(Buffer.from(encodeRecord(decodeRecord(bytes)))).toEqual(Buffer.from(bytes));
    const terms = indexTerms(record).map(({ term, unique }) => (unique ? `${term} unique` : term));
    return [name, { bytes: Buffer.from(bytes).toString("base64"), terms }];
  });
  expect(Object.fromEntries(now)).toEqual(golden);
});
