import { type Call, contract, type Handlers } from "@holdfast/admin";
import { type Document, systemTypes } from "@holdfast/engine";
import { expect, test } from "vitest";
import { Made } from "./made.ts";

const pem = "-----BEGIN CERTIFICATE-----\nAAAA\nBBBB\n-----END CERTIFICATE-----\n";
const document: Document = {
  ...{ type: systemTypes.Certificate, id: "c", destroyed: undefined },
  fixed: { instance: "i", pem, fingerprint: "f" },
  fields: { name: "vcenter" },
};

test.each([
  ["addCertificate", { name: "vcenter", pem }, true],
  [
    "addCertificate",
    { name: "vcenter", pem: `Subject: x\r\n${pem.replaceAll("\n", "\r\n")}` },
    true,
  ],
  ["addCertificate", { name: "vcenter", pem: pem.replace("BBBB", "CCCC") }, false],
  ["addCertificate", { name: "other", pem }, false],
  ["adoptCertificate", { name: "vcenter", fingerprint: "f" }, true],
  ["adoptCertificate", { name: "vcenter", fingerprint: "g" }, false],
] as const)("%s of %j repeats what was made: %s", async (operation, body, same) => {
  const readCertificate = async () => ({ id: "c" });
  const view = { get: () => document, refresh: async () => undefined };
  const made = new Made(view, { readCertificate } as unknown as Handlers);
  const route = contract[operation];
  const call = { newId: "c", params: { instance: "i" }, body } as unknown as Call;
  const work = () => Promise.reject(new TypeError("made a second time"));
  const answer = made.once(route, call, work);
  if (same) expect(await answer).toEqual({ id: "c" });
  else await expect(answer).rejects.toThrow("another body");
});
