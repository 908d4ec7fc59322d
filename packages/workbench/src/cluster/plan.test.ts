import { OperatorError } from "@holdfast/server/base";
import { expect, test } from "vitest";
import { nodesInTurn, planOf } from "./plan.ts";

test("two regions with two nodes each have addresses of their own, and vCenter takes them in turn", () => {
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

test("another port takes the next five, and addresses are the first region's first", () => {
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
  "addresses %j do not go together with two regions",
  (addresses) => {
    const options = { regions: 2, nodes: 2, port: 100, wan: 0, addresses };
    expect(() => planOf(options)).toThrow(OperatorError);
  },
);
