import type { ImplementedOperation, Request, Response } from "@holdfast/kmip";
import type { OperationContext } from "./context.ts";
import { activate } from "./operations/activate.ts";
import { addAttribute } from "./operations/add-attribute.ts";
import { adjustAttribute } from "./operations/adjust-attribute.ts";
import { check } from "./operations/check.ts";
import { create } from "./operations/create.ts";
import { deleteAttribute } from "./operations/delete-attribute.ts";
import { destroy } from "./operations/destroy.ts";
import { discoverVersions } from "./operations/discover-versions.ts";
import { get } from "./operations/get.ts";
import { getAttributeList } from "./operations/get-attribute-list.ts";
import { getAttributes } from "./operations/get-attributes.ts";
import { interop } from "./operations/interop.ts";
import { locate } from "./operations/locate.ts";
import { log } from "./operations/log.ts";
import { modifyAttribute } from "./operations/modify-attribute.ts";
import { query } from "./operations/query.ts";
import { register } from "./operations/register.ts";
import { revoke } from "./operations/revoke.ts";
import { setAttribute } from "./operations/set-attribute.ts";

/** One operation's decision: request in, response out, a `KmipError` thrown to refuse. */
export type Handler<N extends ImplementedOperation> = (
  context: OperationContext,
  request: Request<N>,
) => Response<N> | Promise<Response<N>>;

/** A handler for every operation that has a request in the table; the compiler names a missing one. */
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
