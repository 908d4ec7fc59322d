import { describe, expect, test } from "vitest";
import { checkSettings, type KeyProtectSettings } from "./key-manager-settings.ts";

const settings: KeyProtectSettings = {
  type: "key-protect",
  url: "https://private.us-south.kms.cloud.ibm.com",
  iamUrl: "https://private.iam.cloud.ibm.com",
  instanceId: "12e8c9c2-a162-472d-b7d6-8b9a86b815a6",
  apiKey: async () => "secret",
  deadlineMs: 10_000,
  inFlightMax: 8,
};

describe("settings of a key manager", () => {
  test("HPCS uses the default key ring only, Key Protect uses any one or all", () => {
    expect(checkSettings({ ...settings, type: "hpcs" }).keyRing).toBe("default");
    expect(checkSettings(settings).keyRing).toBeUndefined();
    expect(checkSettings({ ...settings, keyRing: "vmware" }).keyRing).toBe("vmware");
    const dedicated = { ...settings, type: "dedicated-key-protect", keyRing: "vmware" } as const;
    expect(checkSettings(dedicated).keyRing).toBe("vmware");
  });

  test("the role Manager is required by default, as in IBM's own service", () => {
    expect(checkSettings(settings).role).toBe("manager");
    expect(checkSettings({ ...settings, role: "reader" }).role).toBe("reader");
  });

  test("an attempt leaves time for another", () => {
    expect(checkSettings({ ...settings, deadlineMs: 500 }).times.attemptMs).toBe(200);
    expect(checkSettings({ ...settings, deadlineMs: 60_000 }).times.attemptMs).toBe(4000);
  });

  test.each([
    ["url", "http://private.us-south.kms.cloud.ibm.com"],
    ["url", "https://user:word@kms.example"],
    ["url", "https://kms.example/api"],
    ["iamUrl", "iam.cloud.ibm.com"],
    ["instanceId", "12e8c9c2"],
    ["instanceId", "12e8c9c2-a162-472d-b7d6-8b9a86b815a6\r\nx: y"],
    ["rootKey", "../../instance/policies"],
    ["rootKey", "a key"],
    ["keyRing", "ring\r\nx: y"],
  ])("%s rejects %j", (name, value) => {
    expect(() => checkSettings({ ...settings, [name]: value })).toThrow(name);
  });
});
