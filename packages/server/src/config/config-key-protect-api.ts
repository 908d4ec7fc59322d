import { rootReference } from "@holdfast/admin";
import { z } from "zod";
import { integer, list, optional, optionalGroup, type Setting, text, texts } from "./setting.ts";

const regionForm = /^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/;
const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** The roots of trust of one root key, by region. */
const regions: Setting<Readonly<Record<string, z.output<typeof rootReference>>>> = {
  kind: "setting",
  schema: z
    .record(z.string().regex(regionForm), rootReference)
    .refine((given) => Object.values(given).every(hasNoSecret)),
  expects:
    "a root of trust for each region, such as {a: {type: local}, b: {type: local}}, with secrets as {env: NAME} or {file: NAME}",
  doc: "The root of trust that the root key stands for, in each region: the same fields as `rootOfTrust.regions` when an instance is ordered (docs/api.md). A secret is never written here: `{env: NAME}` names a variable, `{file: NAME}` a file of `rootOfTrust.secretsFolder`.",
};

/** The settings of IBM's API. */
export const keyProtectApiSettings = optionalGroup(
  "IBM Key Protect's API for KMIP adapters (`/api/v2/kmip_adapters`) at `admin.listen`, for scripts and Terraform that were written for IBM (docs/ibm-rest-api.md). Give the same at every node of both regions. Left out, this node does not serve it.",
  {
    instanceId: text(
      "The identifier of the Key Protect instance that callers name (`Bluemix-Instance`): any UUID.",
      "a lower-case UUID",
      uuid,
    ),
    url: optional({
      ...text(
        "Where clients reach this API: Terraform asks for it. Left out, `https://` and `admin.listen`.",
        "https://HOST:PORT, without a path",
        /./,
      ),
      schema: z.string().refine(isOrigin),
    }),
    destroyDelay: integer(
      "How long destroyed keys of an adapter that is created by this API can be restored. IBM's clients delete an adapter right after its keys, and an instance with keys that can be restored is not deleted: with a delay, they must wait that long.",
      { min: 0, max: 31_536_000, default: 0 },
      "s",
    ),
    rootKeys: list("The root keys that an adapter may be created with.", {
      id: text("What callers send and get as `crk_id`.", "a lower-case UUID", uuid),
      aliases: texts(
        "Other names that callers may send as `crk_id`. Answers have `id` nevertheless, so Terraform would replace an adapter that names an alias.",
        "a list of texts",
      ),
      regions,
    }),
  },
);

function hasNoSecret(reference: object): boolean {
  return Object.values(reference).every(
    (value: unknown) => typeof value !== "object" || value === null || !("value" in value),
  );
}

function isOrigin(given: string): boolean {
  return URL.canParse(given) && given.startsWith("https://") && new URL(given).origin === given;
}
