import { batchItemId, type VcenterItem, vcenterItems, vcenterMessage } from "@holdfast/testing";
import type { Exchange, Message } from "./load-plan.ts";
import { identifiersIn, positionsOf } from "./wire.ts";

/** The placeholder for an identifier from an earlier answer; it has the same length. */
const identifierToCome = "00000000-0000-0000-0000-000000000000";
/** The placeholder in a request for ten unique digits. */
const numberToCome = "##########";
const machine = {
  "x-Identifier": `52a1b2c3-d4e5-f607-1829-3a${numberToCome}`,
  "x-Component": "Virtual Machine",
  "x-Name": `bench-vm-${numberToCome}`,
};
const product = {
  "x-Product_Version": "7.0.3 build-19480866",
  "x-Vendor": "VMware, Inc.",
  "x-Product": "VMware vSphere",
};

/** vCenter's Discover Versions, with which each of its connections begins. */
export const discoverVersions = messageOf([vcenterItems.discoverVersions()]);

/** vCenter's Create of an AES-256 key. */
export const create = messageOf([vcenterItems.create()]);

/** vCenter's Get of one key. */
export function get(id: string): Message {
  return messageOf([vcenterItems.get(id)]);
}

/** vCenter's messages to make a key and describe it, on four connections one after another. */
export const newKey: readonly Exchange[] = [
  exchange([vcenterItems.create()]),
  exchange(...described(product)),
  exchange(
    [vcenterItems.get(identifierToCome)],
    [vcenterItems.getAttribute(identifierToCome, "State")],
    [vcenterItems.activate(identifierToCome)],
  ),
  exchange(...described(machine)),
];

/** Asks for each attribute, then adds all of them in one batch. */
function described(values: Readonly<Record<string, string>>): readonly (readonly VcenterItem[])[] {
  const names = Object.keys(values);
  return [
    ...names.map((name) => [vcenterItems.getAttribute(identifierToCome, name)]),
    Object.entries(values).map(([name, value]) =>
      vcenterItems.addAttribute(identifierToCome, name, value),
    ),
  ];
}

/** Discover Versions, then messages whose items are numbered from 1, as vCenter's are on every connection. */
function exchange(...messages: readonly (readonly VcenterItem[])[]): Exchange {
  let count = 0;
  const numbered = messages.map((items) =>
    messageOf(items.map((item) => ({ ...item, uniqueBatchItemId: batchItemId(++count) }))),
  );
  return [discoverVersions, ...numbered];
}

function messageOf(items: readonly VcenterItem[]): Message {
  const bytes = Buffer.from(vcenterMessage(items));
  const isToCome = (at: number) => bytes.toString("latin1", at, at + 36) === identifierToCome;
  return {
    bytes: bytes.toString("base64"),
    idsAt: identifiersIn(bytes).filter(isToCome),
    numbersAt: positionsOf(bytes, Buffer.from(numberToCome)),
  };
}
