import { describe, expect, test } from "vitest";
import { parseEndpoint, printEndpoint } from "./endpoint.ts";

describe("an endpoint", () => {
  test.each<[string, string, number]>([
    ["kms.example", "kms.example", 5696],
    ["kms.example:5697", "kms.example", 5697],
    ["127.0.1.1:5696", "127.0.1.1", 5696],
    ["[::1]:9", "::1", 9],
    ["[::1]", "::1", 5696],
    ["fe80::1", "fe80::1", 5696],
  ])("is read from and written as %s", (text, host, port) => {
    const endpoint = parseEndpoint(text);
    expect(endpoint).toEqual({ host, port });
    expect(endpoint && parseEndpoint(printEndpoint(endpoint))).toEqual(endpoint);
  });

  test.each([
    "",
    ":5696",
    "a:0",
    "a:65536",
    "a:b",
    "a b",
    "http://a",
    "u@a",
    "[1.2.3.4]:1",
    "::1]",
  ])("is not valid as %j", (text) => {
    expect(parseEndpoint(text)).toBeUndefined();
  });
});
