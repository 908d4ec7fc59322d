import { describe, expect, test } from "vitest";
import { contract } from "../contract/index.ts";
import { originOf, pathOf } from "./request.ts";

describe("the path of a call", () => {
  test.each([
    ["kmip-one", "/v1/instances/kmip-one"],
    ["..", "/v1/instances/%2E%2E"],
    [".", "/v1/instances/%2E"],
    ["a/b?c#d", "/v1/instances/a%2Fb%3Fc%23d"],
    ["ä ", "/v1/instances/%C3%A4%20"],
  ])("with %j stays under its route", (instance, path) => {
    expect(pathOf(contract.readInstance, { params: { instance } })).toBe(path);
  });

  test("contains the given query", () => {
    const query = { limit: 5, cursor: undefined, label: "a=b&c" };
    expect(pathOf(contract.listInstances, { query })).toBe("/v1/instances?limit=5&label=a%3Db%26c");
  });

  test("needs all of its parameters", () => {
    for (const params of [{}, { instance: "" }, { instance: 1 }, undefined]) {
      expect(() => pathOf(contract.readInstance, { params })).toThrow(/instance is missing/);
    }
  });
});

test.each([
  ["https://node:8443", "https://node:8443"],
  ["https://[::1]:8443/", "https://[::1]:8443"],
])("%s is a valid origin", (url, origin) => expect(originOf(url)).toBe(origin));

test.each([
  "http://node:8443",
  "node:8443",
  "https://u:p@node",
  "https://node/v1",
  "https://node?x",
  "",
])("%j is not a valid origin", (url) => expect(() => originOf(url)).toThrow(/must be https:/));
