import { expect, test } from "vitest";
import { reachedOf } from "./vcenter-site.ts";

const urls = ["https://vc1.example", "https://vc2.example"];
const [one, other] = ["ab".repeat(32), "cd".repeat(32)];

test("each vCenter is reached with the fingerprint of its own place, and a wrong number of them is refused", () => {
  const site = { user: "someone" };
  const pinned = { ...site, vcenterFingerprint: [one.toUpperCase(), other] };
  expect(reachedOf(urls, pinned)).toEqual([
    { url: urls[0], fingerprint: one },
    { url: urls[1], fingerprint: other },
  ]);
  expect(reachedOf(urls, site)).toEqual(urls.map((url) => ({ url })));
  for (const vcenterFingerprint of [[one], [one, other, one]]) {
    expect(() => reachedOf(urls, { ...site, vcenterFingerprint })).toThrow(
      /addresses: 2, fingerprints: \d/,
    );
  }
});
