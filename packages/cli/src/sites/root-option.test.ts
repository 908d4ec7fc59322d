import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseRoot, rootsByRegion } from "./root-option.ts";

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-root-"));
  writeFileSync(join(folder, "key.txt"), "the-api-key\nsecond line\n");
  writeFileSync(join(folder, "empty.txt"), "\n");
});
afterAll(() => rmSync(folder, { recursive: true }));

describe("--root", () => {
  test("reads a secret from a file, but leaves an env or file place for the nodes to read", () => {
    const given = `a:key-protect,instanceId=i,rootKey=k,apiKey=@${join(folder, "key.txt")}`;
    expect(parseRoot(given)).toEqual({
      region: "a",
      root: {
        type: "key-protect",
        instanceId: "i",
        rootKey: "k",
        apiKey: { value: "the-api-key" },
      },
    });
    expect(parseRoot("b:pkcs11,token=t,rootKey=k,pin=env:PIN").root["pin"]).toEqual({ env: "PIN" });
    expect(parseRoot("b:hpcs,apiKey=file:hpcs.key").root["apiKey"]).toEqual({ file: "hpcs.key" });
    expect(parseRoot("local")).toEqual({ region: undefined, root: { type: "local" } });
  });

  test.each([
    [
      "a:vault",
      /a:vault: the type must be one of local, key-protect, dedicated-key-protect, hpcs, pkcs11/,
    ],
    ["", /the type must be one of local/],
    ["a:local,rootKey", /rootKey is not NAME=VALUE/],
    ["a:local,=x", /=x is not NAME=VALUE/],
    ["a:pkcs11,pin=@/does/not/exist", /no such file/],
  ])("refuses %s", (text, says) => {
    expect(() => parseRoot(text)).toThrow(says);
  });

  test("refuses a secret on the command line, without repeating it", () => {
    const attempt = () => parseRoot("a:pkcs11,token=t,pin=s3cret-pin");
    expect(attempt).toThrow(/pin is on the command line/);
    expect(attempt).not.toThrow(/s3cret/);
    expect(() => parseRoot(`a:hpcs,apiKey=@${join(folder, "empty.txt")}`)).toThrow(/first line/);
  });

  test("is given once for each region", () => {
    expect(rootsByRegion([parseRoot("a:local"), parseRoot("b:local")])).toEqual({
      a: { type: "local" },
      b: { type: "local" },
    });
    expect(() => rootsByRegion([parseRoot("a:local"), parseRoot("a:local")])).toThrow(/twice/);
    expect(() => rootsByRegion([parseRoot("local")])).toThrow(/region is missing/);
  });
});
