import { createPrivateKey, X509Certificate } from "node:crypto";
import { describe, expect, test } from "vitest";
import { createAuthority, selfSigned } from "./pki.ts";

const serverAuth = "1.3.6.1.5.5.7.3.1";
const notBeforeMs = Date.UTC(2026, 0, 1);

describe("a development PKI", () => {
  test("issues server certificates with addresses and names, verified by OpenSSL's rules", async () => {
    const authority = await createAuthority({ commonName: "Test CA", notBeforeMs, days: 10 });
    const issued = await authority.issue({
      commonName: "node",
      notBeforeMs,
      days: 5,
      hosts: ["127.0.1.1", "::1", "localhost"],
      purposes: [serverAuth],
    });
    const root = new X509Certificate(authority.certificate);
    const leaf = new X509Certificate(issued.certificate);
    expect(root.ca).toBe(true);
    expect(leaf.ca).toBe(false);
    expect(leaf.checkIssued(root)).toBe(true);
    expect(leaf.verify(root.publicKey)).toBe(true);
    expect(leaf.checkPrivateKey(createPrivateKey(issued.key))).toBe(true);
    expect(leaf.checkIP("127.0.1.1")).toBe("127.0.1.1");
    expect(leaf.checkHost("localhost")).toBe("localhost");
    expect(leaf.keyUsage).toEqual([serverAuth]);
    expect(leaf.validToDate.getTime()).toBe(notBeforeMs + 5 * 86_400_000);
  });

  test.each(["P-256", "RSA-2048"] as const)(
    "makes self-signed leaf certificates (%s) without a purpose",
    async (keyType) => {
      const issued = await selfSigned({ commonName: "kmipClient", notBeforeMs, days: 1, keyType });
      const leaf = new X509Certificate(issued.certificate);
      expect(leaf.subject).toBe("CN=kmipClient");
      expect(leaf.keyUsage).toBeUndefined();
      expect(leaf.verify(leaf.publicKey)).toBe(true);
      expect(leaf.checkPrivateKey(createPrivateKey(issued.key))).toBe(true);
    },
  );
});
