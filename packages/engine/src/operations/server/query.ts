import {
  attributeItem,
  type ImplementedOperation,
  type OperationRow,
  objectTypesOf,
  operations,
  type Response,
  tags,
  within,
} from "@holdfast/kmip";
import { enumeration, type Item, structure } from "@holdfast/ttlv";
import { enumerationValue } from "../../base/enumeration-value.ts";
import { symmetricDefaults } from "../../material/key-generation.ts";
import { softwareProtection } from "../../material/new-object.ts";
import type { Handler, OperationContext } from "../../ports/operation-context.ts";
import { profilesOf } from "./profiles.ts";

type Answer = Partial<Response<"Query">>;

/** What the server can do, by the functions that are asked for (KMIP 2.1, 6.1.40). */
export const query: Handler<"Query"> = (context, { queryFunctions }) => {
  const answers = queryFunctions.map((asked) => functions[asked]?.(context) ?? {});
  return Object.assign({}, nothing, ...answers);
};

const nothing = {
  operations: [],
  objectTypes: [],
  applicationNamespaces: [],
  extensions: [],
  attestationTypes: [],
  rngParameters: [],
  profiles: [],
  validations: [],
  capabilities: [],
  clientRegistrationMethods: [],
} satisfies Response<"Query">;

/** One row per function, including those with an empty answer. */
const functions: Readonly<Record<string, (context: OperationContext) => Answer>> = {
  QueryOperations: (context) => ({ operations: operationsOf(context) }),
  QueryObjects: ({ version }) => ({ objectTypes: objectTypesOf(version) }),
  QueryServerInformation: ({ settings }) => ({
    vendorIdentification: settings.vendorIdentification,
    serverInformation: {
      productName: "Holdfast",
      serverVersion: settings.serverVersion,
      alternateFailoverEndpoints: [],
    },
  }),
  /** No Application Data is made for any namespace. */
  QueryApplicationNamespaces: () => ({}),
  /** Messages use no tags of the extension range. */
  QueryExtensionList: () => ({}),
  QueryExtensionMap: () => ({}),
  QueryAttestationTypes: () => ({}),
  /** The engine does not know its source of random bytes, which the caller provides. */
  QueryRNGs: () => ({ rngParameters: [{ rngAlgorithm: "Unspecified" }] }),
  QueryValidations: () => ({}),
  QueryProfiles: ({ settings, version }) => ({ profiles: profilesOf(version, settings) }),
  QueryCapabilities: () => ({
    capabilities: [
      {
        streaming: false,
        asynchronous: false,
        attestation: false,
        batchUndo: true,
        batchContinue: true,
        unwrapMode: "Unspecified",
        destroyAction: "Unspecified",
        shreddingAlgorithm: "Unspecified",
        rngMode: "Unspecified",
        quantumSafe: false,
      },
    ],
  }),
  QueryClientRegistrationMethods: () => ({}),
  QueryDefaultsInformation: () => ({ defaultsInformation: defaults() }),
  QueryStorageProtectionMasks: () => ({ protectionStorageMasks: { masks: [softwareProtection] } }),
};

function operationsOf({ settings, version }: OperationContext): readonly ImplementedOperation[] {
  const names = Object.keys(operations) as (keyof typeof operations)[];
  return names.filter((name): name is ImplementedOperation => {
    const { request, since, until }: OperationRow = operations[name];
    const available = name !== "Interop" || settings.interop;
    return request !== undefined && available && within(version, since, until);
  });
}

/** The attributes that a new object gets by default (KMIP 2.1, 7.11). */
function defaults(): Item {
  const { algorithm, length, usage } = symmetricDefaults;
  const attributes = structure(tags.Attributes.tag, [
    attributeItem("CryptographicAlgorithm", algorithm),
    attributeItem("CryptographicLength", length),
    attributeItem("CryptographicUsageMask", usage),
  ]);
  const type = enumerationValue("ObjectType", "SymmetricKey");
  return structure(tags.DefaultsInformation.tag, [
    structure(tags.ObjectDefaults.tag, [enumeration(tags.ObjectType.tag, type), attributes]),
  ]);
}
