import {
  disable,
  enable,
  rewrap,
  rotate,
  setForDeletion,
  sync,
  unsetForDeletion,
  unwrap,
  wrap,
} from "./actions.ts";
import type { Answer, Call } from "./call.ts";
import {
  createKey,
  deleteKey,
  getKey,
  getMetadata,
  headKeys,
  listKeys,
  listVersions,
  patchKey,
  purgeKey,
  restoreKey,
} from "./keys.ts";
import {
  allowedIpPort,
  getImportToken,
  getInstancePolicies,
  getPolicies,
  listRegistrations,
  postImportToken,
  putInstancePolicies,
  putPolicies,
} from "./policies.ts";
import { createAlias, createRing, deleteAlias, deleteRing, listRings } from "./rings.ts";
import type { Role } from "./world.ts";

/** A call that the key manager supports. */
export interface Route {
  readonly action: string;
  readonly role: Role;
  /** The parameters in the path. */
  readonly path: readonly string[];
  readonly handle: (call: Call) => Answer;
}

type Row = readonly [
  method: string,
  path: string,
  action: string,
  role: Role,
  handle: (call: Call) => Answer,
];

const rows: readonly Row[] = [
  ["HEAD", "/keys", "keys.head", "Reader", headKeys],
  ["GET", "/keys", "keys.list", "Reader", listKeys],
  ["POST", "/keys", "keys.create", "Writer", createKey],
  ["POST", "/keys_with_policy_overrides", "keys.create", "Writer", createKey],
  ["GET", "/keys/registrations", "registrations.list", "Reader", listRegistrations],
  ["GET", "/keys/*", "keys.read", "ReaderPlus", getKey],
  ["PATCH", "/keys/*", "keys.patch", "Manager", patchKey],
  ["DELETE", "/keys/*", "keys.delete", "Manager", deleteKey],
  ["GET", "/keys/*/metadata", "keys.metadata", "Reader", getMetadata],
  ["POST", "/keys/*/actions/wrap", "wrap", "Reader", wrap],
  ["POST", "/keys/*/actions/unwrap", "unwrap", "Reader", unwrap],
  ["POST", "/keys/*/actions/rewrap", "rewrap", "Reader", rewrap],
  ["POST", "/keys/*/actions/rotate", "rotate", "Writer", rotate],
  ["POST", "/keys/*/actions/disable", "disable", "Manager", disable],
  ["POST", "/keys/*/actions/enable", "enable", "Manager", enable],
  ["POST", "/keys/*/actions/setKeyForDeletion", "setForDeletion", "Writer", setForDeletion],
  ["POST", "/keys/*/actions/unsetKeyForDeletion", "unsetForDeletion", "Writer", unsetForDeletion],
  ["POST", "/keys/*/actions/sync", "sync", "Writer", sync],
  ["POST", "/keys/*/restore", "keys.restore", "Manager", restoreKey],
  ["DELETE", "/keys/*/purge", "keys.purge", "Manager", purgeKey],
  ["GET", "/keys/*/versions", "versions.list", "Reader", listVersions],
  ["GET", "/keys/*/policies", "policies.read", "Manager", getPolicies],
  ["PUT", "/keys/*/policies", "policies.write", "Manager", putPolicies],
  ["GET", "/keys/*/registrations", "registrations.list", "Reader", listRegistrations],
  ["POST", "/keys/*/aliases/*", "aliases.create", "Writer", createAlias],
  ["DELETE", "/keys/*/aliases/*", "aliases.delete", "Manager", deleteAlias],
  ["GET", "/key_rings", "rings.list", "Reader", listRings],
  ["POST", "/key_rings/*", "rings.create", "Writer", createRing],
  ["DELETE", "/key_rings/*", "rings.delete", "Manager", deleteRing],
  ["GET", "/instance/policies", "instancePolicies.read", "Manager", getInstancePolicies],
  ["PUT", "/instance/policies", "instancePolicies.write", "Manager", putInstancePolicies],
  ["GET", "/instance/allowed_ip_port", "allowedIpPort", "Manager", allowedIpPort],
  ["POST", "/import_token", "importToken.create", "Writer", postImportToken],
  ["GET", "/import_token", "importToken.read", "Writer", getImportToken],
];

const routes = rows.map(([method, path, action, role, handle]) => ({
  method,
  pattern: new RegExp(`^/api/v2${path.replaceAll("*", "([^/]+)")}$`),
  action,
  role,
  handle,
}));

/** Actions of `POST /keys/{id}?action=wrap`: the form of 2019, which still works. */
const old = ["wrap", "unwrap", "rewrap", "rotate"];

/** The route of a request; undefined where there is none. */
export function routeOf(method: string, url: URL): Route | undefined {
  const action = method === "POST" ? url.searchParams.get("action") : null;
  const path =
    action !== null && old.includes(action) ? `${url.pathname}/actions/${action}` : url.pathname;
  for (const route of routes) {
    const match = route.method === method ? route.pattern.exec(path) : null;
    if (match !== null) return { ...route, path: match.slice(1).map(decodeURIComponent) };
  }
  return undefined;
}
