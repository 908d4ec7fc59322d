import { expect, test } from "vitest";
import { KeyProviders } from "./key-provider.ts";
import { VcenterFault } from "./vi-json.ts";

/** The providers of a vCenter that refuses every call. */
const refusing = (fault: string) => {
  const call = (_: unknown, method: string) =>
    Promise.reject(new VcenterFault(fault, `vCenter refused ${method}: ${fault}: why`));
  return new KeyProviders({ cryptoManager: {}, call } as never);
};
const server = { name: "kms-1", address: "kms.example", port: 5696 };

test("only a refusal of a call with a server's name and address says something about these", async () => {
  const providers = refusing("InvalidArgument");
  const address = /vCenter does not take this name or address/;
  await expect(providers.register("p", server)).rejects.toThrow(address);
  await expect(providers.serverCertificate("p", server)).rejects.toThrow(address);
  await expect(providers.useCertificate("p", "PEM")).rejects.toThrow(/InvalidArgument: why$/);
  await expect(providers.trust("p", "PEM")).rejects.toThrow(/InvalidArgument: why$/);
  await expect(refusing("RuntimeFault").register("p", server)).rejects.toThrow(/why$/);
});

test("a missing privilege ends a command as denied, and any other fault as wrong", async () => {
  await expect(refusing("NoPermission").list()).rejects.toMatchObject({ exit: "denied" });
  await expect(refusing("InvalidState").list()).rejects.toMatchObject({ exit: "wrong" });
});
