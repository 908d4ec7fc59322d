import type { FastifyInstance, FastifyRequest } from "fastify";
import { z } from "zod";
import { vcenterToken } from "../../management/tokens/bearer.ts";
import type { Authorizer } from "../access/authorizer.ts";
import { type VcenterType, vcenterTypes } from "../access/vcenter-object.ts";
import type { VcenterSessions } from "../access/vcenter-sessions.ts";
import { sessionHeader } from "../access/vi-json.ts";
import { Refused } from "../problem.ts";

/** Files of the console for the vSphere Client: they are served only if a vCenter is configured. */
export const isOfPlugin = (name: string): boolean => /^plugin[.-]/.test(name);

/** Names the vCenter of the session, by its identifier or its address. */
const vcenterHeader = "x-holdfast-vcenter";

/** An object as the vSphere Client names it: `urn:vmomi:VirtualMachine:vm-42:GUID`. */
const urn = z
  .string()
  .regex(
    new RegExp(`^urn:vmomi:(?:${Object.keys(vcenterTypes).join("|")}):[\\w.-]{1,80}:[\\w-]{1,64}$`),
  );
const query = z.object({ id: urn }).strict();

/**
 * Lets requests of the vSphere Client carry the session of its user in place of a token, and answers which keys an
 * object of vCenter uses. No cookie takes part: pages of other sites do not have the session's token.
 */
export function servePlugin(
  app: FastifyInstance,
  authorizer: Authorizer,
  sessions: VcenterSessions,
): void {
  const vcenterOf = (headers: FastifyRequest["headers"]) =>
    sessions.guidOf(String(headers[vcenterHeader] ?? ""));
  app.addHook("onRequest", async ({ headers }) => {
    const token = headers[sessionHeader];
    if (typeof token !== "string" || headers.authorization !== undefined) return;
    headers.authorization = `Bearer ${vcenterToken(vcenterOf(headers), token)}`;
  });
  const route = { roles: ["viewer"], scope: "instance" } as const;
  const onRequest = async (request: FastifyRequest) => {
    await authorizer.admit("readVcenterObject", route, request, 0);
  };
  app.get("/console/plugin/object", { onRequest }, async (request, reply) => {
    const given = query.safeParse(request.query);
    if (!given.success) {
      const detail = `query.id: must be urn:vmomi:TYPE:ID:VCENTER, of ${Object.keys(vcenterTypes).join(", ")}`;
      throw new Refused({ code: "invalid", detail });
    }
    const [, , type = "", id = "", guid = ""] = given.data.id.split(":");
    if (guid.toLowerCase() !== vcenterOf(request.headers)) {
      throw new Refused({ code: "invalid", detail: "query.id: is of another vCenter" });
    }
    const token = String(request.headers.authorization).replace(/^Bearer /i, "");
    return reply.send(await sessions.object(token, type as VcenterType, id, request.ip));
  });
}
