/**
 * A process that holds one PKCS#11 token, forked by `host.ts`: a vendor's module that blocks, loses its mind or crashes
 * takes this process with it, and no KMIP connection. Arguments: module, label of the token. It ends when its parent
 * lets go of it.
 */
import { performance } from "node:perf_hooks";
import { failureOf, isLost, textOf } from "./codes.ts";
import { BlobBroken, PinRefused, TokenFailure } from "./faults.ts";
import type { HostAnswer, HostFault, HostRequest } from "./messages.ts";
import { type Library, loadLibrary } from "./native.ts";
import { Token } from "./token.ts";
import { TokenRoot } from "./token-root.ts";

const [, , module = "", label = ""] = process.argv;
let library: Library | undefined;
let opening: Promise<TokenRoot> | undefined;

// A node that drains after SIGTERM, or is interrupted at a terminal, still needs its keys.
for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.on(signal, () => undefined);
process.on("message", (request: HostRequest) => void serve(request));
process.on("disconnect", () => {
  try {
    library?.calls.C_Finalize();
  } catch {
    // It ends with the process.
  }
  process.exit(0);
});

async function serve(request: HostRequest): Promise<void> {
  const answer = await answerTo(request);
  // Written out before `send` returns; what was secret in it is needed no more.
  if (process.connected) process.send?.(answer);
  forget(request.args);
  if ("value" in answer) forget(Object.values(answer.value ?? {}));
}

async function answerTo({ id, name, args, pin }: HostRequest): Promise<HostAnswer> {
  try {
    opening ??= open();
    const root = (await opening).withPin(pin);
    const operation = root[name] as (...given: unknown[]) => Promise<unknown>;
    return { id, value: await operation.apply(root, [...args]) };
  } catch (error) {
    return { id, fault: faultOf(error), lost: isLost(error) || library === undefined };
  }
}

async function open(): Promise<TokenRoot> {
  library = await loadLibrary(module);
  return new TokenRoot(new Token(library, label), () => performance.now());
}

function faultOf(error: unknown): HostFault {
  if (error instanceof PinRefused) {
    return { kind: "pinRefused", message: error.message, tried: error.tried };
  }
  if (error instanceof BlobBroken) return { kind: "broken", message: error.message };
  if (error instanceof TokenFailure) {
    return { kind: "failure", failure: error.failure, message: error.message };
  }
  const message = `token ${label}: ${textOf(error)}`;
  return { kind: "failure", failure: failureOf(error), message };
}

function forget(values: readonly unknown[]): void {
  for (const value of values) if (value instanceof Uint8Array) value.fill(0);
}
