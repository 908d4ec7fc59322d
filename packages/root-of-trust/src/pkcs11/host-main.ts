/**
 * A process for one PKCS#11 token, forked by `host.ts`: a vendor's module that blocks, misbehaves or crashes affects
 * only this process, and no KMIP connection. Arguments: module, label of the token. Exits when its parent disconnects.
 */
import { performance } from "node:perf_hooks";
import { failureOf, isLost, textOf } from "./codes.ts";
import { BlobBroken, PinRefused, TokenFailure } from "./faults.ts";
import type { HostAnswer, HostFault, HostRequest } from "./messages.ts";
import { type Library, loadLibrary } from "./native.ts";
import { Token } from "./token.ts";
import { TokenRoot } from "./token-root.ts";

const [, , module = "", label = ""] = process.argv;

/** Handles calls; loads the library at the first one. */
class Host {
  #library: Library | undefined;
  #opening: Promise<TokenRoot> | undefined;

  async serve(request: HostRequest): Promise<void> {
    const answer = await this.#answerTo(request);
    // `send` writes the message before it returns, so secrets in it can be erased now.
    if (process.connected) process.send?.(answer);
    forget(request.args);
    if ("value" in answer) forget(Object.values(answer.value ?? {}));
  }

  end(): never {
    try {
      this.#library?.calls.C_Finalize();
    } catch {
      // The library ends with the process.
    }
    process.exit(0);
  }

  async #answerTo({ id, name, args, pin }: HostRequest): Promise<HostAnswer> {
    try {
      this.#opening ??= this.#open();
      const root = (await this.#opening).withPin(pin);
      const operation = root[name] as (...given: unknown[]) => Promise<unknown>;
      return { id, value: await operation.apply(root, [...args]) };
    } catch (error) {
      const lost = isLost(error) || this.#library === undefined;
      return { id, fault: faultOf(error), lost };
    }
  }

  async #open(): Promise<TokenRoot> {
    this.#library = await loadLibrary(module);
    return new TokenRoot(new Token(this.#library, label), () => performance.now());
  }
}

const host = new Host();
// A node that drains after SIGTERM, or is interrupted at a terminal, still needs its keys.
for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.on(signal, () => undefined);
process.on("message", (request: HostRequest) => void host.serve(request));
process.on("disconnect", () => host.end());

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
