import { randomUUID } from "node:crypto";
import { batchItemId, type VcenterItem, vcenterItems, vcenterMessage } from "@holdfast/testing";
import { expect, test } from "vitest";
import * as bytes from "./vcenter-bytes.ts";

const id = randomUUID();
const machine = randomUUID();
const { addAttribute } = vcenterItems;

/** The credential in the bytes. */
const login = { username: "vcenter", password: "opensesame" };

/** Items with the identifiers of a connection from `n` on. */
function numbered(n: number, ...items: readonly VcenterItem[]): Uint8Array {
  return vcenterMessage(
    items.map((item, at) => ({ ...item, uniqueBatchItemId: batchItemId(n + at) })),
  );
}

function credited(n: number, item: VcenterItem): Uint8Array {
  return vcenterMessage([{ ...item, uniqueBatchItemId: batchItemId(n) }], login);
}

// The encoder makes the sequence that `npm start` plays; the bytes here are written by hand.
test.each<[string, Uint8Array, string]>([
  ["the first message", vcenterMessage([vcenterItems.discoverVersions()]), bytes.firstMessage],
  ["Discover Versions", numbered(1, vcenterItems.discoverVersions()), bytes.discoverVersions(1)],
  ["Query", numbered(1, vcenterItems.queryServerInformation()), bytes.queryServerInformation(1)],
  ["Create", numbered(1, vcenterItems.create()), bytes.create(1)],
  ["Get", numbered(2, vcenterItems.get(id)), bytes.get(2, id)],
  ["Activate", numbered(3, vcenterItems.activate(id)), bytes.activate(3, id)],
  [
    "Get Attributes [State]",
    numbered(2, vcenterItems.getAttribute(id, "State")),
    bytes.getAttribute(2, id, "State"),
  ],
  [
    "Get Attributes [x-Product_Version]",
    numbered(1, vcenterItems.getAttribute(id, "x-Product_Version")),
    bytes.getAttribute(1, id, "x-Product_Version"),
  ],
  [
    "three Add Attributes about the product",
    numbered(
      4,
      addAttribute(id, "x-Product_Version", "7.0.3 build-19480866"),
      addAttribute(id, "x-Vendor", "VMware, Inc."),
      addAttribute(id, "x-Product", "VMware vSphere"),
    ),
    bytes.addProduct(4, id),
  ],
  [
    "three Add Attributes about the machine",
    numbered(
      4,
      addAttribute(id, "x-Identifier", machine),
      addAttribute(id, "x-Component", "Virtual Machine"),
      addAttribute(id, "x-Name", "vm-0001"),
    ),
    bytes.addMachine(4, id, machine),
  ],
  ["Create with a login", credited(1, vcenterItems.create()), bytes.create(1, true)],
  ["Get with a login", credited(2, vcenterItems.get(id)), bytes.get(2, id, true)],
  ["Activate with a login", credited(3, vcenterItems.activate(id)), bytes.activate(3, id, true)],
])("the development cluster's vCenter sends %s byte for byte", (_, made, written) => {
  expect(Buffer.from(made).toString("hex")).toBe(written);
});
