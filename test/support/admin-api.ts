import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { AdminClient, type AdminClientOptions, AdminUnreachable, contract } from "@holdfast/admin";
import { answerOf, until } from "@holdfast/testing";
import type { NodeProcess } from "./node-process.ts";

/** How to reach the management API of a node. */
export interface AdminTarget {
  readonly node: NodeProcess;
  /** PEM of the authority that issued the node's certificate. */
  readonly ca: string;
}

/** What ends by itself: on a busy machine a node may lose its store or the other region for a moment. */
const passing = new Set(["peerUnreachable", "storeUnavailable", "rootUnavailable"]);
/** How a connection fails to a process that does not run for a moment, or that has just ended it for being idle. */
const lost = new Set(["UND_ERR_CONNECT_TIMEOUT", "UND_ERR_SOCKET", "ECONNRESET", "EPIPE"]);

/** Whether a busy machine may be why a call of the management API failed. */
export function isBusy(error: unknown): boolean {
  const fault = error instanceof AdminUnreachable ? error.cause : error;
  const code = fault instanceof Error && "code" in fault ? fault.code : undefined;
  return typeof code === "string" && (passing.has(code) || lost.has(code));
}

type Call = AdminClient["call"];

/** A call that is made again after errors that pass, with one key for all its tries, so that it makes one thing. */
function again(send: Call, passes: (error: unknown, name: Parameters<Call>[0]) => boolean): Call {
  const call = (...[name, request, options]: Parameters<Call>) => {
    const once = { idempotencyKey: randomUUID(), ...options };
    return answerOf(
      name,
      () => send(name, request, once),
      (error) => passes(error, name),
    );
  };
  return call as Call;
}

/** A client that asks again while the machine is busy. */
export class PatientClient extends AdminClient {
  override async call(...given: Parameters<Call>): Promise<never> {
    return (await again(super.call.bind(this), isBusy)(...given)) as never;
  }
}

/** Calls of a client that are made again while the machine is busy, or no node answers. */
export function patiently(client: AdminClient): Pick<AdminClient, "call"> {
  const passes = (error: unknown, name: Parameters<Call>[0]) =>
    isBusy(error) ||
    (error instanceof AdminUnreachable && ["GET", "POST"].includes(contract[name].method));
  return { call: again(client.call.bind(client), passes) };
}

function optionsOf({ node, ca }: AdminTarget, token: string): AdminClientOptions {
  return { urls: [`https://${node.host}:${node.admin}`], token, ca };
}

/** A client of one node's management API. */
export function adminClient(target: AdminTarget, token: string): AdminClient {
  return new AdminClient(optionsOf(target, token));
}

/** The same for a test to which a refusal that passes tells nothing. */
export function patientClient(target: AdminTarget, token: string): AdminClient {
  return new PatientClient(optionsOf(target, token));
}

/** Waits for the one-time token of a node, and returns it. */
export async function oneTimeToken(node: NodeProcess): Promise<string> {
  let token = "";
  await until(`the one-time token of ${node.name}`, async () => {
    token = (await readFile(node.bootstrapFile, "latin1").catch(() => "")).trim();
    return token !== "";
  });
  return token;
}

/**
 * Makes the first token, of somebody who manages and decides who is a client, with a node's one-time token. On a busy
 * machine the first answer may be lost, or come before the node sees its own record: then it asks again.
 */
export function firstToken(target: AdminTarget, name = "test"): Promise<string> {
  const make = async () => {
    await using client = adminClient(target, await oneTimeToken(target.node));
    const { secret } = await client.call("createToken", {
      body: { name, roles: ["manager", "security-officer"] },
    });
    return secret;
  };
  return answerOf("the first token", make, () => true);
}
