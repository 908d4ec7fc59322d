import type { PlantedFault } from "../fault.ts";

const server = "packages/server/src";
const trustTests = [`${server}/access/trust.test.ts`];
const denials = `${server}/management/denials`;
const denialTests = [`${denials}/denials.test.ts`];
const crlTests = [`${server}/access/crl/revocation-lists.test.ts`];
const peerTlsTests = ["packages/regions/src/peer/peer-tls.test.ts"];
const viewTests = [`${server}/records/system-view.test.ts`];

/** Faults in how a client or a peer is shut out: the deny list and revocation lists. */
export const revocationFaults: readonly PlantedFault[] = [
  {
    name: "denied-client-admitted",
    kind: "access",
    file: `${server}/access/trust.ts`,
    find: '    if (this.#isDenied(names)) return "denied";\n    if (known',
    replace: "    if (known",
    rule: "a certificate that is denied is not admitted",
    promises: ["A client certificate that is denied loses access"],
    tests: trustTests,
  },
  {
    name: "denial-leaves-open-connections",
    kind: "access",
    file: `${server}/access/trust.ts`,
    find: "if (this.#isDenied(known.names) || !this.#denyListReadable()) return false;",
    replace: "if (!this.#denyListReadable()) return false;",
    rule: "a denial ends open connections",
    promises: ["A client certificate that is denied loses access"],
    tests: trustTests,
  },
  {
    name: "denial-leaves-session-tickets",
    kind: "access",
    file: `${server}/access/trust.ts`,
    find: "    this.#digest += digestOf(`denial",
    replace: "    digestOf(`denial",
    rule: "no session is resumed after a denial",
    promises: ["A client certificate that is denied loses access"],
    tests: trustTests,
  },
  {
    name: "unreadable-denial-admits",
    kind: "access",
    file: `${denials}/recorded-denials.ts`,
    find: "      trust.deny(id, undefined);\n",
    replace: "",
    rule: "nobody is admitted as long as a denial cannot be read",
    promises: ["A client certificate that is denied loses access"],
    tests: denialTests,
  },
  {
    name: "damaged-denial-unseen",
    kind: "access",
    file: `${server}/records/system-view.ts`,
    find: "        unread.push(id);\n        this.#noteUnread(id);",
    replace: "        unread.push(id);",
    rule: "a denial that is damaged is noticed by its identifier",
    promises: ["A client certificate that is denied loses access"],
    tests: viewTests,
  },
  {
    name: "revoked-client-admitted",
    kind: "access",
    file: `${server}/access/trust.ts`,
    find: "return revocationOf(known.listed ?? []) ?? checkDates(known.admission, nowMs);",
    replace: "return checkDates(known.admission, nowMs);",
    rule: "a certificate that its authority has revoked is not admitted",
    promises: ["A client certificate that its authority has revoked"],
    tests: crlTests,
  },
  {
    name: "revocation-leaves-open-connections",
    kind: "access",
    file: `${server}/access/trust.ts`,
    find: "return revocationOf(known.listed ?? []) === undefined;",
    replace: "return true;",
    rule: "a revocation ends open connections",
    promises: ["A client certificate that its authority has revoked"],
    tests: crlTests,
  },
  {
    name: "older-revocation-list-used",
    kind: "access",
    file: `${server}/access/crl/crl-source.ts`,
    find: "    if (this.#crl !== undefined) refuseOlder(crl, this.#crl);\n",
    replace: "",
    rule: "a revocation list is never replaced by one with a lower number",
    promises: ["A client certificate that its authority has revoked"],
    tests: crlTests,
  },
  {
    name: "forged-revocation-list-used",
    kind: "access",
    file: `${server}/access/crl/read-crl.ts`,
    find: "  if (!good) throw",
    replace: "  if (signature.length === 0) throw",
    rule: "a revocation list counts only if its authority signed it",
    promises: ["A client certificate that its authority has revoked"],
    tests: [`${server}/access/crl/read-crl.test.ts`],
  },
  {
    name: "denied-peer-stays-linked",
    kind: "access",
    file: "packages/regions/src/peer/server/peer-server.ts",
    find: "      if (this.#isDenied(one.certificate)) this.#end(one, onDenyList);\n",
    replace: "      void one;\n",
    rule: "a denial ends the connections of a peer",
    promises: ["A peer certificate whose fingerprint is denied"],
    tests: peerTlsTests,
  },
  {
    name: "denied-peer-linked-again",
    kind: "access",
    file: "packages/regions/src/peer/client/channel.ts",
    find: "if (why !== undefined) {",
    replace: 'if (why === "") {',
    rule: "a node does not call a peer whose certificate is denied",
    promises: ["A peer certificate whose fingerprint is denied"],
    tests: peerTlsTests,
  },
];
