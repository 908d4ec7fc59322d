import type { Issued } from "@holdfast/testing/pki";
import * as bytes from "../interop/vcenter-bytes.ts";
import { KmipSocket } from "./kmip-socket.ts";
import type { NodeProcess } from "./node-process.ts";

/** vCenter's first message, which asks for the versions. */
export const greeting = Buffer.from(bytes.firstMessage, "hex");

/** Connects and asks for the versions; rejects if the node refuses the client. */
export async function greet(
  { host, kmip: port }: NodeProcess,
  ca: string,
  { certificate, key }: Issued,
): Promise<KmipSocket> {
  const socket = await KmipSocket.open({ host, port, ca, certificate, key });
  try {
    await socket.exchange(greeting);
    return socket;
  } catch (error) {
    await socket[Symbol.asyncDispose]();
    throw error;
  }
}

/** Whether a node admits a client. */
export async function isLetIn(node: NodeProcess, ca: string, shown: Issued): Promise<boolean> {
  try {
    await (await greet(node, ca, shown))[Symbol.asyncDispose]();
    return true;
  } catch {
    return false;
  }
}
