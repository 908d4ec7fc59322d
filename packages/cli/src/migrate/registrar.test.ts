import { type KmipClient, KmipClientError } from "@holdfast/client";
import { attributeItem, objectItem, tags } from "@holdfast/kmip";
import { byteString } from "@holdfast/ttlv";
import { expect, test } from "vitest";
import type { Peer } from "./peer.ts";
import { type Given, Registrar } from "./registrar.ts";

const given: Given = {
  ...{ id: "1", type: "SymmetricKey" },
  items: [
    attributeItem("ObjectType", "SymmetricKey"),
    attributeItem("CryptographicAlgorithm", "AES"),
    attributeItem("Comment", "of the old server"),
  ],
  object: objectItem("SymmetricKey", {
    keyBlock: {
      keyFormatType: "Raw",
      keyValue: { keyMaterial: byteString(tags.KeyMaterial.tag, Buffer.alloc(32, 1)) },
    },
  }),
};

/** Gives an object to a target that refuses each Register with the next one of these reasons. */
function refusing(...reasons: readonly ("GeneralFailure" | "InvalidField")[]) {
  const left = [...reasons];
  const register = async () => {
    const status = "OperationFailed";
    throw new KmipClientError({
      ...{ operation: "Register", status, reason: left.shift(), message: "no" },
    } as ConstructorParameters<typeof KmipClientError>[0]);
  };
  const target = {
    version: "2.1",
    takesImport: async () => false,
    call: async (work: (client: KmipClient) => unknown) => await work({ register } as never),
  } as unknown as Peer;
  const registrar = new Registrar(target, { sleep: async () => undefined });
  return { registrar, ended: registrar.give(given, false) };
}

test("an object may be at the target also if the Register with few attributes ends with a general failure", async () => {
  const general = refusing("InvalidField", "GeneralFailure");
  await expect(general.ended).rejects.toThrow(KmipClientError);
  expect(general.registrar.isUnsure("1")).toBe(true);
  const refused = refusing("InvalidField", "InvalidField");
  await expect(refused.ended).rejects.toThrow(KmipClientError);
  expect(refused.registrar.isUnsure("1")).toBe(false);
});
