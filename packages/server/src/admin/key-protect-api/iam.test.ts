import { createHmac } from "node:crypto";
import fc from "fast-check";
import { decodeJwt } from "jose";
import { describe, expect, test } from "vitest";
import { unwrapToken, wrapToken } from "./iam.ts";

const token = `hf_${"a".repeat(43)}`;
const nowMs = 1_800_000_000_000;
const about = { name: "terraform", account: "0".repeat(32), nowMs };

describe("a wrapped token", () => {
  test("has what IBM's clients read, and is the token again when it comes back", () => {
    const { jwt, expiration } = wrapToken(token, about);
    expect(decodeJwt(jwt)).toMatchObject({
      id: "terraform",
      account: { bss: "0".repeat(32) },
      iat: 1_800_000_000,
      exp: expiration,
    });
    expect(unwrapToken(`Bearer ${jwt}`, nowMs)).toBe(token);
    expect(unwrapToken(`bearer ${jwt}`, expiration * 1000 - 1)).toBe(token);
  });

  test("is refused once it has expired", () => {
    const { jwt, expiration } = wrapToken(token, about);
    expect(unwrapToken(`Bearer ${jwt}`, expiration * 1000)).toBeUndefined();
  });

  test("is refused if anything in it was changed", () => {
    const { jwt } = wrapToken(token, about);
    const [head = "", claims = "", signature = ""] = jwt.split(".");
    const later = Buffer.from(JSON.stringify({ ...decodeJwt(jwt), exp: 2_000_000_000 })).toString(
      "base64url",
    );
    const none = Buffer.from(JSON.stringify({ alg: "none" })).toString("base64url");
    const guessed = createHmac("sha256", "guess").update(`${head}.${claims}`).digest("base64url");
    for (const forged of [
      `${head}.${later}.${signature}`,
      `${none}.${claims}.${signature}`,
      `${none}.${claims}.`,
      `${head}.${claims}.${guessed}`,
      `${head}.${claims}.${"A".repeat(43)}`,
    ]) {
      expect(unwrapToken(`Bearer ${forged}`, nowMs), forged).toBeUndefined();
    }
  });

  test("is not found in any other text", () => {
    const part = fc.oneof(
      fc.string(),
      fc.base64String(),
      fc.json().map((text) => Buffer.from(text).toString("base64url")),
      fc
        .record({
          iss: fc.constant("urn:holdfast:token"),
          exp: fc.anything(),
          holdfast: fc.anything(),
        })
        .map((claims) => Buffer.from(JSON.stringify(claims) ?? "").toString("base64url")),
    );
    const text = fc.tuple(part, part, part).map((parts) => `Bearer ${parts.join(".")}`);
    fc.assert(
      fc.property(fc.oneof(text, fc.string()), (header) => {
        expect(unwrapToken(header, nowMs)).toBeUndefined();
      }),
    );
  });
});
