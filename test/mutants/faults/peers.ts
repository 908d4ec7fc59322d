import type { PlantedFault } from "../fault.ts";

const regions = "packages/regions/src";
const server = "packages/server/src";
const keys = `${regions}/peer/region-keys.ts`;
const keyTests = [`${regions}/peer/region-keys.test.ts`];
const linkTests = [`${regions}/peer/link-proof.test.ts`];
const service = `${regions}/store/peer-service.ts`;
const serviceTests = [`${regions}/store/peer-service.test.ts`];
const orders = `${server}/roots/kek-orders.ts`;
const orderTests = [`${server}/roots/kek-orders.test.ts`];
const tickets = `${server}/kmip/ticket-secret.ts`;
const ticketTests = [`${server}/kmip/ticket-secret.test.ts`];

const common = { kind: "protocol", simulated: false } as const;

/** Faults in what a region proves to the other one, gives it and takes from it, and in session tickets. */
export const peerFaults: readonly PlantedFault[] = [
  {
    ...common,
    name: "link-without-proof",
    file: `${regions}/peer/server/peer-server.ts`,
    find: 'if ("fault" in checked) {',
    replace: 'if ("fault" in checked && checked.fault === "") {',
    rule: "a connection that has not proven its region's key is closed",
    promises: ["Callers at the peer port that are not nodes"],
    tests: linkTests,
  },
  {
    ...common,
    name: "client-takes-any-key",
    file: `${regions}/peer/client/channel.ts`,
    find: 'const fault = "fault" in checked ? checked.fault : undefined;',
    replace: "const fault = undefined as string | undefined;",
    rule: "a node asks nothing of another one that has not proven its region's key",
    promises: ["Callers at the peer port that are not nodes"],
    tests: linkTests,
  },
  {
    ...common,
    name: "proof-of-another-session",
    file: keys,
    find: ".update(text).update(exporter).digest();",
    replace: ".update(text).digest();",
    rule: "a proof of the region key is bound to its TLS session",
    tests: [...keyTests, ...linkTests],
  },
  {
    ...common,
    name: "proof-of-either-role",
    file: keys,
    find: "const told = [role, client.region,",
    replace: 'const told = ["", client.region,',
    rule: "what a side sends does not prove the side that gets it",
    tests: [...keyTests, ...linkTests],
  },
  {
    ...common,
    name: "strangers-with-a-certificate-stay",
    file: `${regions}/peer/server/peer-server.ts`,
    find: "const found = this.#nodeOf(socket, certificate);",
    replace:
      "const found = this.#nodeOf(socket, certificate);\n    this.#handshakes.leave(socket);",
    rule: "a connection has a stranger's limits until it has proven its region's key",
    tests: linkTests,
  },
  {
    ...common,
    name: "certificate-of-two-nodes",
    file: `${regions}/peer/peer-tls.ts`,
    find: "return nodes.length === 1 ? nodes[0] : undefined;",
    replace: "return nodes[0];",
    rule: "a peer certificate belongs to one node",
    tests: [`${regions}/peer/peer-tls.test.ts`],
  },
  {
    ...common,
    name: "kek-to-anybody-of-the-region",
    file: service,
    find: 'if (!wraps.some((wrap) => wrap.region === asking)) return "missing";',
    replace: 'return "missing";',
    rule: "a KEK is given only to a region that has no wrap of it, or by an order",
    tests: serviceTests,
  },
  {
    ...common,
    name: "kek-before-its-event",
    file: service,
    find: "await own.appendAudit(instance, events, true);",
    replace: "void own.appendAudit(instance, events, true).catch(() => undefined);",
    rule: "a KEK is given once its event is kept",
    tests: serviceTests,
  },
  {
    ...common,
    name: "erased-kek-is-given",
    file: service,
    find: "if (wraps.length === 0) throw",
    replace: "if (wraps.length === -1) throw",
    rule: "a KEK whose wraps were erased is given to nobody",
    tests: serviceTests,
  },
  {
    ...common,
    name: "sealed-kek-is-not-bound",
    file: keys,
    find: "const names = [instance, kekId, asking,",
    replace: 'const names = ["", "", "",',
    rule: "a sealed KEK is bound to its instance, its identifier and the region that asked",
    tests: keyTests,
  },
  {
    ...common,
    name: "unproven-order-counts",
    file: orders,
    find: "if (mac.length !== wanted.length || !timingSafeEqual(mac, wanted)) return [];",
    replace: "if (mac.length !== wanted.length) return [];",
    rule: "who writes to Redis gives no order for a KEK",
    tests: orderTests,
  },
  {
    ...common,
    name: "order-for-ever",
    file: orders,
    find: "return untilMs > nowMs && untilMs",
    replace: "return untilMs > 0 && untilMs",
    rule: "an order for a KEK ends after an hour",
    tests: orderTests,
  },
  {
    ...common,
    name: "event-says-who-sent-it",
    file: `${regions}/store/own-for-others.ts`,
    find: "detail: { ...event.detail, [fromRegion]: region }",
    replace: "detail: { [fromRegion]: region, ...event.detail }",
    rule: "the region that keeps an event says which region sent it",
    tests: serviceTests,
  },
  {
    ...common,
    name: "long-detail-hides-its-sender",
    file: "packages/engine/src/audit/audit-codec.ts",
    find: "const kept = region === undefined ? {} :",
    replace: "const kept = region !== null ? {} :",
    rule: "an event of another region is marked, however long its detail is",
    tests: serviceTests,
  },
  {
    ...common,
    name: "ticket-secret-of-any-hour",
    file: tickets,
    find: "if (Number(of) === hour && blob !== undefined) {",
    replace: "if (blob !== undefined) {",
    rule: "a secret of session tickets counts for its hour only",
    tests: ticketTests,
  },
  {
    ...common,
    name: "ticket-secret-without-its-hour",
    file: tickets,
    find: "#binding(hour: number): Uint8Array {",
    replace: "#binding(_hour: number): Uint8Array {\n    const hour = 0;",
    rule: "the wrap of a secret of session tickets is bound to its hour",
    tests: ticketTests,
  },
  {
    ...common,
    name: "ticket-secret-is-kept",
    file: tickets,
    find: "    old.fill(0);",
    replace: "    old.subarray(0, 0).fill(0);",
    rule: "the secret of an hour that is over is forgotten",
    tests: ticketTests,
  },
  {
    ...common,
    name: "material-stays-in-clear",
    file: "packages/engine/src/material/material.ts",
    find: "plaintext.fill(0);",
    replace: "plaintext.subarray(0, 0).fill(0);",
    rule: "a buffer with material in clear is zeroed once it was sealed",
    tests: ["packages/engine/src/material/zeroing.test.ts"],
  },
];
