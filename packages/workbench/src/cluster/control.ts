import { once } from "node:events";
import { rmSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { text } from "node:stream/consumers";
import { OperatorError, reasonOf, SocketPath } from "@holdfast/server/base";
import { type Folder, stopCommand } from "../base/folder.ts";
import type { LoadReport } from "../vcenter/load.ts";
import type { FaultRequest } from "./faults.ts";

/** A command to the running cluster: a fault, or what to do with the load that the web console shows. */
export type ControlRequest = FaultRequest | { readonly load: "start" | "stop" | "report" };

/** What was done. */
export interface ControlReply {
  readonly lines: readonly string[];
  readonly load?: LoadReport;
  /** Names that faults take. */
  readonly parts?: readonly string[];
}

/** The running cluster's answer to a command. */
interface ControlAnswer extends ControlReply {
  readonly fault?: string;
}

type CarryOut = (request: ControlRequest) => Promise<ControlReply>;

const requestBytesMax = 65_536;
const answerTimeoutMs = 30_000;

/** The socket for commands to a running cluster; only this user can open it, like the folder. */
export class Control implements AsyncDisposable {
  readonly #server: Server;
  readonly #path: SocketPath;

  private constructor(server: Server, path: SocketPath) {
    this.#server = server;
    this.#path = path;
  }

  /** Listens, and carries out requests. */
  static async open(folder: Folder, carryOut: CarryOut): Promise<Control> {
    const path = new SocketPath(folder.control);
    rmSync(folder.control, { force: true });
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on("error", () => undefined);
      void answer(socket, carryOut);
    });
    server.listen(path.name);
    await once(server, "listening");
    return new Control(server, path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise((resolve) => this.#server.close(resolve));
    this.#path[Symbol.dispose]();
  }
}

async function answer(socket: Socket, carryOut: CarryOut): Promise<void> {
  const reply = (answered: ControlAnswer) => socket.end(JSON.stringify(answered));
  try {
    const chunks: Buffer[] = [];
    let bytes = 0;
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > requestBytesMax) throw new OperatorError("the command is too long");
      chunks.push(chunk);
    }
    const request = JSON.parse(Buffer.concat(chunks).toString("utf8")) as ControlRequest;
    reply(await carryOut(request));
  } catch (error) {
    reply({ lines: [], fault: reasonOf(error) });
  }
}

/** Sends a request to the cluster in a folder; throws an `OperatorError` if none runs or if it refuses. */
export async function ask(folder: Folder, request: FaultRequest): Promise<readonly string[]> {
  using path = existingPath(folder);
  try {
    const socket = connect({ path: path.name, allowHalfOpen: true });
    socket.setTimeout(answerTimeoutMs, () => socket.destroy(new Error("no answer")));
    await once(socket, "connect").catch(() => {
      throw notRunning(folder);
    });
    socket.end(JSON.stringify(request));
    const { lines, fault } = JSON.parse(await text(socket)) as ControlAnswer;
    if (fault !== undefined) throw new OperatorError(fault);
    return lines;
  } catch (error) {
    if (error instanceof OperatorError) throw error;
    throw new OperatorError(
      `the cluster in ${folder.root} does not answer: ${reasonOf(error)}; end it with \`${stopCommand(folder)}\``,
      "again",
    );
  }
}

/** What a command says where no cluster takes it. */
export function notRunning({ root }: Folder): OperatorError {
  return new OperatorError(
    `no cluster that is ready runs in ${root}: start it with \`npm start\``,
    "again",
  );
}

/** Throws an `OperatorError` if the folder does not exist. */
function existingPath(folder: Folder): SocketPath {
  try {
    return new SocketPath(folder.control);
  } catch {
    throw notRunning(folder);
  }
}
