import type { Contract, Reply } from "@holdfast/admin";
import { isPlainPem, readPasted } from "../../management/certificates/paste.ts";
import { collectionTypes, readCertificate } from "./bodies.ts";
import type { Calls } from "./calls.ts";
import {
  adapterOf,
  allPages,
  type Context,
  missing,
  nameFor,
  quota,
  tooManyOf,
} from "./context.ts";
import type { IbmAnswer } from "./envelope.ts";
import { readQuery, windowOf, windowRows } from "./queries.ts";
import { badField } from "./refusals.ts";

type Certificate = Reply<Contract["listCertificates"]>["items"][number];

const type = collectionTypes.certificate;
const limitMax = 200;

/** `GET …/certificates`: without the certificates themselves. */
export async function listCertificates(context: Context): Promise<IbmAnswer> {
  const { limit, offset, totalCount } = windowOf(readQuery(windowRows(limitMax), context.query));
  await adapterOf(context);
  const all = await certificates(context.calls);
  return {
    status: 200,
    type,
    resources: all.slice(offset, offset + limit).map((one) => shown(one)),
    totalCount: totalCount ? all.length : undefined,
  };
}

/** `POST …/certificates`. */
export async function createCertificate(context: Context): Promise<IbmAnswer> {
  const { calls, repeated: key } = context;
  readQuery({}, context.query);
  const given = readCertificate(context.body);
  const { name = nameFor("kmip_cert", context), certificate: pem } = given;
  await adapterOf(context);
  if (!isPlainPem(pem)) {
    // Says what it is instead, where that can be told.
    readPasted(pem);
    const what = "KMIP client certificate could not be created";
    throw badField(what, "certificate", "one certificate in PEM, without other text");
  }
  const others = (await certificates(calls)).filter((one) => one.name !== name);
  if (others.length >= quota) throw tooManyOf("client certificate", "KMIP_CERT_QUOTA_ERR");
  const made = await calls.call("addCertificate", { key, body: { name, kind: "client", pem } });
  return { status: 201, type, resources: [shown(made, pem)] };
}

/** `GET …/certificates/{certificate}`: the text is the one that was sent. */
export async function readCertificateRoute(context: Context): Promise<IbmAnswer> {
  readQuery({}, context.query);
  const { pem, ...found } = await named(context);
  return { status: 200, type, resources: [shown(found, pem)] };
}

/** `DELETE …/certificates/{certificate}`. */
export async function deleteCertificate(context: Context): Promise<IbmAnswer> {
  readQuery({}, context.query);
  const { id: certificate } = await named(context);
  await context.calls.call("deleteCertificate", { params: { certificate } });
  return { status: 204 };
}

async function named(context: Context): Promise<Reply<Contract["readCertificate"]>> {
  await adapterOf(context);
  const certificate = context.params["certificate"] ?? "";
  const found = await context.calls.call("readCertificate", { params: { certificate } });
  if (found.kind === "client") return found;
  throw missing("client certificate", "KMIP_CERT_NOT_FOUND_ERR");
}

/** All client certificates of the adapter, by name. Authorities are Holdfast's own, and not shown here. */
async function certificates(calls: Calls): Promise<readonly Certificate[]> {
  const all = await allPages((query) => calls.call("listCertificates", { query }));
  return all.filter(({ kind }) => kind === "client");
}

function shown({ id, name, addedBy, addedAt = "" }: Certificate, certificate?: string) {
  return {
    id,
    name,
    ...(certificate !== undefined && { certificate }),
    created_by: addedBy,
    created_at: addedAt,
  };
}
