import { describe, expect, test } from "vitest";
import { type KeyManagerPlace, keyManagerUrls } from "./key-manager-urls.ts";

const instanceId = "12e8c9c2-a162-472d-b7d6-8b9a86b815a6";
const iamUrl = "https://private.iam.cloud.ibm.com";

describe("the URLs of a key manager", () => {
  test.each<[Omit<KeyManagerPlace, "instanceId">, string, string]>([
    [
      { type: "key-protect", region: "us-south" },
      "https://private.us-south.kms.cloud.ibm.com",
      iamUrl,
    ],
    [
      { type: "key-protect", region: "eu-de", endpoint: "public" },
      "https://eu-de.kms.cloud.ibm.com",
      "https://iam.cloud.ibm.com",
    ],
    [
      { type: "hpcs", region: "us-south" },
      `https://${instanceId}.api.private.us-south.hs-crypto.appdomain.cloud`,
      iamUrl,
    ],
    [
      { type: "hpcs", region: "eu-es", endpoint: "public" },
      `https://${instanceId}.api.eu-es.hs-crypto.appdomain.cloud`,
      "https://iam.cloud.ibm.com",
    ],
    // Once, each instance had its own port.
    [
      { type: "hpcs", host: "api.private.us-south.hs-crypto.cloud.ibm.com:8042" },
      "https://api.private.us-south.hs-crypto.cloud.ibm.com:8042",
      iamUrl,
    ],
    [
      { type: "dedicated-key-protect", region: "us-east", endpoint: "public" },
      `https://${instanceId}.api.us-east.kms.appdomain.cloud`,
      "https://iam.cloud.ibm.com",
    ],
    [
      {
        type: "dedicated-key-protect",
        host: "{instanceId}.api.private.us-south.kms.appdomain.cloud",
        iamHost: "iam.vpe.example:8443",
      },
      `https://${instanceId}.api.private.us-south.kms.appdomain.cloud`,
      "https://iam.vpe.example:8443",
    ],
  ])("are derived from %o", (place, url, iam) => {
    expect(keyManagerUrls({ ...place, instanceId })).toEqual({ url, iamUrl: iam });
  });

  test.each<[string, Partial<KeyManagerPlace>]>([
    ["region", {}],
    ["region", { region: "us-south.evil.example/" }],
    ["host", { host: "evil.example/path" }],
    ["host", { host: "user@evil.example" }],
    // IBM publishes no private form of it.
    ["endpoint", { type: "dedicated-key-protect", region: "us-south" }],
    ["iamHost", { region: "us-south", iamHost: "https://evil.example" }],
    ["instanceId", { type: "hpcs", region: "us-south", instanceId: "evil.example/" }],
  ])("the error names %s if it is invalid: %o", (name, place) => {
    const wrong = () => keyManagerUrls({ type: "key-protect", instanceId, ...place });
    expect(wrong).toThrow(name);
  });
});
