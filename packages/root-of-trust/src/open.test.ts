import { expect, test } from "vitest";
import type { RootSettings } from "./kinds.ts";
import { openRootOfTrust } from "./open.ts";

const limits = { deadlineMs: 45_000, inFlightMax: 32 };
const context = {
  clock: { wallMs: () => 0, monotonicMs: () => 0 },
  ids: { uuid: () => "", randomBytes: (length: number) => new Uint8Array(length) },
  observe: () => undefined,
};
const keyManager = {
  url: "https://kms.example",
  iamUrl: "https://iam.example",
  instanceId: "12e8c9c2-a162-472d-b7d6-8b9a86b815a6",
  apiKey: async () => "secret",
};
const token = { module: "/m.so", token: "t", pin: async () => "1234", environment: {} };

test.each<RootSettings>([
  { type: "pkcs11", ...token, ...limits },
  { type: "key-protect", ...keyManager, ...limits },
  { type: "dedicated-key-protect", ...keyManager, ...limits },
  { type: "hpcs", ...keyManager, ...limits },
])("an open root of trust says what its settings allow: $type", async (settings) => {
  await using root = await openRootOfTrust(settings, context);
  expect(root.limits).toEqual(limits);
});
