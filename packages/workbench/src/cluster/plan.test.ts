import { OperatorError } from "@holdfast/server/base";
import { expect, test } from "vitest";
import { nodesInTurn, planOf } from "./plan.ts";

test("two regions with two nodes each have separate addresses, and vCenter uses the regions in turn", () => {
  const plan = planOf({ regions: 2, nodes: 2, port: 5696, wan: 40 });
  expect(plan.wanMs).toBe(40);
  expect(
    nodesInTurn(plan).map(({ region, name, kmip }) => [region, name, kmip.host, kmip.port]),
  ).toEqual([
    ["a", "a1", "127.0.1.1", 5696],
    ["b", "b1", "127.0.2.1", 5696],
    ["a", "a2", "127.0.1.2", 5696],
    ["b", "b2", "127.0.2.2", 5696],
  ]);
  const [first] = nodesInTurn(plan);
  expect([first?.http.port, first?.health.port, first?.peer.port]).toEqual([9464, 9465, 9443]);
});

test("another port also sets the five ports after it, and the first addresses are those of the first region", () => {
  const addresses = ["127.0.9.1", "127.0.9.2"];
  const [a, b] = planOf({ regions: 2, nodes: 2, port: 100, wan: 0, addresses }).regions;
  expect(a?.nodes.map(({ kmip }) => kmip)).toEqual([{ host: "127.0.9.1", port: 100 }]);
  expect(b?.nodes.map(({ peer, line }) => [peer, line])).toEqual([
    [
      { host: "127.0.9.2", port: 103 },
      { host: "127.0.9.2", port: 104 },
    ],
  ]);
});

test.each([[["127.0.9.1"]], [["127.0.9.1", "127.0.9.1"]]])(
  "addresses %j are refused with two regions",
  (addresses) => {
    const options = { regions: 2, nodes: 2, port: 100, wan: 0, addresses };
    expect(() => planOf(options)).toThrow(OperatorError);
  },
);
