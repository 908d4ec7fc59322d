import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { AdminClient, AdminProblem } from "@holdfast/admin";
import { OperatorError, printAddress, reasonOf } from "@holdfast/server/base";
import { type Folder, writePrivate } from "../base/folder.ts";
import type { DevNode } from "./plan.ts";

/** Options for the first token. */
export interface ManagerOptions {
  readonly folder: Folder;
  readonly nodes: readonly DevNode[];
  /** PEM of the issuer of the nodes' certificate. */
  readonly ca: string;
  readonly signal: AbortSignal;
}

const withinMs = 60_000;
const pollMs = 50;
const days = 366;

/** The file to which a node writes its one-time token. */
export function bootstrapFile(folder: Folder, node: DevNode): string {
  return join(folder.nodes, `${node.name}.one-time-token`);
}

/** If the cluster's folder has no valid manager token, creates one with the one-time token of a node. */
export async function ensureManager(options: ManagerOptions): Promise<void> {
  const { folder, signal } = options;
  const untilMs = performance.now() + withinMs;
  let why = "no node has written a one-time token";
  while (performance.now() < untilMs) {
    signal.throwIfAborted();
    try {
      if (existsSync(folder.managerToken) && (await isValid(options))) return;
      const secret = await firstToken(options);
      if (secret !== undefined) {
        writePrivate(folder.managerToken, `${secret}\n`);
        return;
      }
    } catch (error) {
      why = reasonOf(error);
    }
    await sleep(pollMs);
  }
  const kept = existsSync(folder.managerToken)
    ? `; the one in ${folder.managerToken} is not valid`
    : "";
  throw new OperatorError(`no manager token could be made: ${why}${kept}`);
}

async function isValid({ folder, nodes, ca }: ManagerOptions): Promise<boolean> {
  await using client = clientOf(nodes, ca, readFileSync(folder.managerToken, "latin1").trim());
  try {
    await client.call("whoAmI", {});
    return true;
  } catch (error) {
    if (error instanceof AdminProblem && error.code === "unauthenticated") return false;
    throw error;
  }
}

/** Creates the token; undefined while no node has a one-time token. */
async function firstToken({ folder, nodes, ca }: ManagerOptions): Promise<string | undefined> {
  for (const node of nodes) {
    const file = bootstrapFile(folder, node);
    if (!existsSync(file) || statSync(file).size === 0) continue;
    await using client = clientOf([node], ca, readFileSync(file, "latin1").trim());
    const name = `development ${new Date().toISOString().slice(0, 10)} ${process.pid}`;
    const made = await client.call("createToken", {
      body: { name, roles: ["manager", "security-officer"], days },
    });
    return made.secret;
  }
  return undefined;
}

function clientOf(nodes: readonly DevNode[], ca: string, token: string): AdminClient {
  return new AdminClient({
    urls: nodes.map(({ admin }) => `https://${printAddress(admin)}`),
    ca,
    token,
  });
}
