import { z } from "zod";
import { isUuid } from "./context.ts";
import { badBody, badField, Refusal } from "./refusals.ts";

/** An adapter as a caller orders it. */
interface GivenAdapter {
  readonly name: string | undefined;
  readonly description: string;
  /** The identifier or an alias of a root key. */
  readonly crkId: string;
}

/** A certificate as a caller adds it. */
interface GivenCertificate {
  readonly name: string | undefined;
  readonly certificate: string;
}

/** Media types of the collections. */
export const collectionTypes = {
  adapter: "application/vnd.ibm.kms.kmip_adapter+json",
  certificate: "application/vnd.ibm.kms.kmip_client_certificate+json",
  object: "application/vnd.ibm.kms.kmip_object+json",
} as const;

const madeWhat = {
  adapter: "KMIP adapter could not be created",
  certificate: "KMIP client certificate could not be created",
} as const;

/** Words of the API's paths; those of the second list may be names of certificates. */
const reserved = new Set(
  "allowed_ip key keys metadata policy policies registration registrations ring rings rotate wrap unwrap rewrap version versions".split(
    " ",
  ),
);
const reservedForAdapters = new Set(["certificate", "certificates"]);
/** What IBM's names and Holdfast's have in common. */
const nameForm = /^[A-Za-z0-9]([A-Za-z0-9_-]{0,62}[A-Za-z0-9])?$/;
const descriptionMax = 240;
const certificateMax = 32_768;

const text = z.string().nullish();
const adapter = z.strictObject({
  name: text,
  description: text,
  profile: text,
  profile_data: z.record(z.string(), z.string()).nullish(),
});
const certificate = z.strictObject({ name: text, certificate: text });
const envelope = z.strictObject({
  metadata: z.strictObject({ collectionType: z.string(), collectionTotal: z.number() }),
  resources: z.array(z.unknown()),
});

/** Reads the body of an order; throws a `Refusal`. */
export function readAdapter(body: unknown): GivenAdapter {
  const what = madeWhat.adapter;
  const given = only(body, "adapter", adapter);
  const { profile, profile_data: data } = given;
  if (profile !== "native_1.0") throw badField(what, "profile", "native_1.0");
  const crkId = data?.["crk_id"];
  if (crkId === undefined || crkId === "" || crkId.length > 256) {
    throw badField(what, "crk_id", "the identifier or alias of a root key");
  }
  const more = Object.keys(data ?? {}).find((name) => name !== "crk_id");
  if (more !== undefined) throw badField(what, "profile_data", "an object with crk_id only");
  const description = given.description ?? "";
  if (description.length > descriptionMax) {
    throw badField(what, "description", `at most ${descriptionMax} characters`);
  }
  return { name: nameOf(given.name, "adapter"), description, crkId };
}

/** Reads the body of a new certificate; throws a `Refusal`. The certificate itself is checked later. */
export function readCertificate(body: unknown): GivenCertificate {
  const what = madeWhat.certificate;
  const given = only(body, "certificate", certificate);
  const pem = given.certificate ?? "";
  if (pem === "" || pem.length > certificateMax) {
    throw badField(
      what,
      "certificate",
      `one certificate in PEM, of at most ${certificateMax} characters`,
    );
  }
  return { name: nameOf(given.name, "certificate"), certificate: pem };
}

/** The one resource of an envelope. */
function only<Resource extends z.ZodType>(
  body: unknown,
  kind: keyof typeof madeWhat,
  resource: Resource,
): z.output<Resource> {
  const what = madeWhat[kind];
  const { metadata, resources } = parsed(envelope, body, what);
  const expected = collectionTypes[kind];
  if (metadata.collectionType !== expected) {
    throw badBody(what, `metadata.collectionType must be ${expected}`);
  }
  if (resources.length !== 1) {
    throw badBody(what, `resources must have exactly one element, not ${resources.length}`);
  }
  if (metadata.collectionTotal !== resources.length) {
    throw new Refusal(400, what, {
      code: "COLLECTION_TOTAL_MISMATCH_ERR",
      message: "metadata.collectionTotal must be the number of resources",
    });
  }
  return parsed(resource, resources[0], what);
}

/** Names the place of a fault, and no value. */
function parsed<Shape extends z.ZodType>(
  shape: Shape,
  value: unknown,
  what: string,
): z.output<Shape> {
  const read = shape.safeParse(value);
  if (read.success) return read.data;
  const [issue] = read.error.issues;
  if (issue?.code === "unrecognized_keys") {
    throw badBody(what, `json: unknown field "${String(issue.keys[0]).slice(0, 64)}"`);
  }
  const place = (issue?.path ?? []).map((step) => String(step).slice(0, 64)).join(".");
  const expected = issue?.code === "invalid_type" ? issue.expected : "as IBM documents it";
  throw badBody(what, `${place === "" ? "the body" : place} must be ${expected}`);
}

function nameOf(name: string | null | undefined, kind: keyof typeof madeWhat): string | undefined {
  if (name === undefined || name === null) return undefined;
  const isWord = reserved.has(name) || (kind === "adapter" && reservedForAdapters.has(name));
  if (nameForm.test(name) && !isUuid(name.toLowerCase()) && !isWord) return name;
  throw badField(
    madeWhat[kind],
    "name",
    "1 to 64 letters, digits, hyphens and underscores, first and last a letter or digit; not a UUID, and not a word of the API's paths, such as keys",
  );
}
