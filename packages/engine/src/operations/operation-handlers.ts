import type { ImplementedOperation } from "@holdfast/kmip";
import type { Handler } from "../ports/operation-context.ts";
import { activate } from "./activate.ts";
import { addAttribute } from "./attributes/add-attribute.ts";
import { adjustAttribute } from "./attributes/adjust-attribute.ts";
import { deleteAttribute } from "./attributes/delete-attribute.ts";
import { getAttributeList } from "./attributes/get-attribute-list.ts";
import { getAttributes } from "./attributes/get-attributes.ts";
import { modifyAttribute } from "./attributes/modify-attribute.ts";
import { setAttribute } from "./attributes/set-attribute.ts";
import { check } from "./check.ts";
import { create } from "./create.ts";
import { destroy } from "./destroy.ts";
import { get } from "./get.ts";
import { locate } from "./locate.ts";
import { register } from "./register.ts";
import { revoke } from "./revoke.ts";
import { discoverVersions } from "./server/discover-versions.ts";
import { interop } from "./server/interop.ts";
import { log } from "./server/log.ts";
import { query } from "./server/query.ts";

/** A handler for every operation that has a request in the table; the compiler reports a missing one. */
export type Handlers = { readonly [N in ImplementedOperation]: Handler<N> };

/** The engine's operations. */
export const handlers = {
  Activate: activate,
  AddAttribute: addAttribute,
  AdjustAttribute: adjustAttribute,
  Check: check,
  Create: create,
  DeleteAttribute: deleteAttribute,
  Destroy: destroy,
  DiscoverVersions: discoverVersions,
  Get: get,
  GetAttributeList: getAttributeList,
  GetAttributes: getAttributes,
  Interop: interop,
  Locate: locate,
  Log: log,
  ModifyAttribute: modifyAttribute,
  Query: query,
  Register: register,
  Revoke: revoke,
  SetAttribute: setAttribute,
} as const satisfies Handlers;
