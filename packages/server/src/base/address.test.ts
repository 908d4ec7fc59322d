import { expect, test } from "vitest";
import { parseAddress, printAddress, reachOf } from "./address.ts";

test.each<[string, { host: string; port: number } | undefined]>([
  ["127.0.0.1:5696", { host: "127.0.0.1", port: 5696 }],
  ["[::1]:1", { host: "::1", port: 1 }],
  ["redis.example:6379", { host: "redis.example", port: 6379 }],
  ["::1:1", undefined],
  ["[localhost]:1", undefined],
  ["host", undefined],
  ["host:", undefined],
  [":1", undefined],
  ["host:65536", undefined],
  ["user@host:1", undefined],
  ["a b:1", undefined],
])("%s is read as an address, or is not one", (text, address) => {
  expect(parseAddress(text)).toEqual(address);
  if (address !== undefined) expect(printAddress(address)).toBe(text);
});

test.each([
  ["127.0.2.1", "loopback"],
  ["::1", "loopback"],
  ["::ffff:127.0.0.1", "loopback"],
  ["0.0.0.0", "wildcard"],
  ["::", "wildcard"],
  ["::ffff:0.0.0.0", "wildcard"],
  ["10.0.0.1", "private"],
  ["172.31.0.1", "private"],
  ["172.32.0.1", "public"],
  ["192.168.1.1", "private"],
  ["169.254.1.1", "private"],
  ["fd00::1", "private"],
  ["fe80::1", "private"],
  ["8.8.8.8", "public"],
  ["2001:db8::1", "public"],
] as const)("the reach of %s is %s", (ip, reach) => {
  expect(reachOf(ip)).toBe(reach);
});
