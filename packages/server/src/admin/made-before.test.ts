import { type Call, contract, type Handlers } from "@holdfast/admin";
import { expect, test } from "vitest";
import { certificateValues, systemRecord } from "../testing/system-records.ts";
import { MadeBefore } from "./made-before.ts";

const pem = "-----BEGIN CERTIFICATE-----\nAAAA\nBBBB\n-----END CERTIFICATE-----\n";
const fingerprint = "ff".repeat(32);
const record = systemRecord(
  "Certificate",
  { ...certificateValues, instance: "i", pem, fingerprint, name: "vcenter" },
  "c",
);

test.each([
  ["addCertificate", { name: "vcenter", pem }, true],
  [
    "addCertificate",
    { name: "vcenter", pem: `Subject: x\r\n${pem.replaceAll("\n", "\r\n")}` },
    true,
  ],
  ["addCertificate", { name: "vcenter", pem: pem.replace("BBBB", "CCCC") }, false],
  ["addCertificate", { name: "other", pem }, false],
  ["adoptCertificate", { name: "vcenter", fingerprint }, true],
  ["adoptCertificate", { name: "vcenter", fingerprint: "g" }, false],
] as const)("%s with the body %j counts as a repetition: %s", async (operation, body, same) => {
  const readCertificate = async () => ({ id: "c" });
  const view = { get: () => record as never, refresh: async () => undefined };
  const made = new MadeBefore(view, { readCertificate } as unknown as Handlers);
  const route = contract[operation];
  const call = { newId: "c", params: { instance: "i" }, body } as unknown as Call;
  const work = () => Promise.reject(new TypeError("made a second time"));
  const answer = made.once(route, call, work);
  if (same) expect(await answer).toEqual({ id: "c" });
  else await expect(answer).rejects.toThrow("another body");
});
