import { X509Certificate } from "node:crypto";
import { type AdminClient, AdminProblem } from "@holdfast/admin";
import { fingerprintOf } from "@holdfast/server/certificates";
import { selfSigned } from "@holdfast/testing/pki";
import { expect, test } from "vitest";
import { checkSteps } from "./apply-check.ts";
import { type ActualInstance, planOf } from "./apply-plan.ts";

test("a certificate that replaces another one is checked, and added before the old one is deleted", async () => {
  const issue = { notBeforeMs: Date.now() - 3_600_000, days: 2 };
  const [old, renewed] = [
    await selfSigned({ commonName: "old", ...issue }),
    await selfSigned({ commonName: "renewed", ...issue }),
  ];
  const instance = { name: "kmip-prod", description: undefined, labels: undefined, roots: {} };
  const kept = { name: "vcenter", kind: "client" } as const;
  const fingerprint = fingerprintOf(new X509Certificate(old.certificate));
  const there: ActualInstance = {
    ...{ id: "1", name: "kmip-prod", description: "", labels: {}, origin: "order", roots: {} },
    certificates: [{ ...kept, id: "c1", fingerprint, origin: "added" }],
    users: [],
  };
  const certificates = [{ ...kept, pem: renewed.certificate }];
  const steps = planOf([{ ...instance, certificates, users: [] }], [there]);
  const asked: string[] = [];
  const detail = "renewed expired";
  const client = {
    call: async (operation: string, _call: unknown, options: unknown) => {
      expect(options).toEqual({ dryRun: true });
      asked.push(operation);
      if (operation === "addCertificate") {
        throw new AdminProblem(422, { code: "certificateInvalid", detail }, undefined);
      }
    },
  } as unknown as AdminClient;
  await expect(checkSteps(client, steps, [there])).rejects.toThrow(
    "+ certificate vcenter-new of kmip-prod, in place of vcenter: renewed expired; nothing was changed",
  );
  expect(asked).toEqual(["addCertificate", "deleteCertificate"]);
});
