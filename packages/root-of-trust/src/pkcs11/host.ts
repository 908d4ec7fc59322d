import { type ChildProcess, fork } from "node:child_process";
import { extname, join } from "node:path";
import { type Clock, RootOfTrustError, SealBroken, Semaphore } from "@holdfast/engine";
import type { HostAnswer, HostFault, HostRequest, TokenOperations } from "./messages.ts";
import type { PinTries } from "./pin-tries.ts";
import type { Pkcs11Settings } from "./pkcs11.ts";

/** Next to this file: TypeScript in a checkout, `.mjs` in a bundle. */
const program = join(import.meta.dirname, `host-main${extname(import.meta.filename)}`);
/** The pause before the next process starts: none after the first failure, then doubled each time up to the maximum. */
const pauseMs = 250;
const pauseMaxMs = 5_000;
/** How long a disconnected process may take to exit. */
const endMs = 2_000;
/** Threads in addition to those of the calls in flight, for other work of the process. */
const spareThreads = 2;

type Operation = keyof TokenOperations;
type Result<Name extends Operation> = Awaited<ReturnType<TokenOperations[Name]>>;

interface Waiting {
  resolve(answer: HostAnswer): void;
  reject(error: Error): void;
}

/** One process and its calls in flight. */
interface Running {
  readonly child: ChildProcess;
  readonly waiting: Map<number, Waiting>;
  answers: number;
}

/** A PIN, and a digest that identifies it without showing it. */
export interface HostPin {
  readonly text: string;
  readonly digest: string;
}

type Asked = Omit<HostRequest, "id">;

/** The process ended during the call. */
class HostEnded extends Error {
  override readonly name = "HostEnded";
}

/** The parent's side of a token's process: starts it, limits calls in flight, replaces it when it is lost. */
export class Pkcs11Host {
  readonly #settings: Pkcs11Settings;
  readonly #clock: Clock;
  readonly #inFlight: Semaphore;
  readonly #pin: string;
  readonly #pinDigest: string;
  readonly #tries: PinTries;
  #running: Running | undefined;
  #closed = false;
  #nextId = 0;
  #failures = 0;
  #notBeforeMs = 0;
  #lastFault = "";

  constructor(settings: Pkcs11Settings, clock: Clock, pin: HostPin, tries: PinTries) {
    this.#settings = settings;
    this.#pin = pin.text;
    this.#pinDigest = pin.digest;
    this.#clock = clock;
    this.#tries = tries;
    this.#inFlight = new Semaphore(settings.inFlightMax);
  }

  /** Runs one operation on the token within the deadline, including the wait for its turn. */
  async call<Name extends Operation>(
    name: Name,
    ...args: Parameters<TokenOperations[Name]>
  ): Promise<Result<Name>> {
    const untilMs = this.#clock.monotonicMs() + this.#settings.deadlineMs;
    return await this.#inFlight.run(async () => {
      const answer = await this.#tries.ask(this.#pinDigest, this.#clock, () =>
        this.#ask({ name, args, pin: this.#pin }, untilMs),
      );
      if ("fault" in answer) throw errorOf(answer.fault);
      this.#failures = 0;
      return answer.value as Result<Name>;
    });
  }

  /** Ends the process once the calls in flight are answered. */
  async close(): Promise<void> {
    this.#closed = true;
    const running = this.#running;
    if (running === undefined) return;
    const ended = new Promise<void>((resolve) => running.child.once("exit", () => resolve()));
    running.child.ref();
    this.#retire(running);
    await ended;
  }

  /** Retries once, with a new process, if the process ended or its module lost the token. */
  async #ask(request: Asked, untilMs: number, again = true): Promise<HostAnswer> {
    const running = this.#start();
    try {
      const answer = await this.#exchange(running, request, untilMs);
      if (!("fault" in answer && answer.lost)) return answer;
      this.#lost(running, answer.fault);
      if (!again || this.#clock.monotonicMs() < this.#notBeforeMs) return answer;
      return await this.#ask(request, untilMs, false);
    } catch (error) {
      if (!(error instanceof HostEnded)) throw error;
      if (!again || this.#closed) throw this.#unavailable(error.message);
      return await this.#ask(request, untilMs, false);
    }
  }

  #start(): Running {
    if (this.#closed) throw this.#unavailable("closed");
    if (this.#running?.child.connected === false) this.#ended(this.#running, "ended");
    if (this.#running !== undefined) return this.#running;
    if (this.#clock.monotonicMs() < this.#notBeforeMs) throw this.#unavailable(this.#lastFault);
    const { module, token, environment, inFlightMax } = this.#settings;
    const child = fork(program, [module, token], {
      serialization: "advanced",
      stdio: ["ignore", "ignore", "ignore", "ipc"],
      execArgv: [],
      env: { ...environment, UV_THREADPOOL_SIZE: String(inFlightMax + spareThreads) },
    });
    const running: Running = { child, waiting: new Map(), answers: 0 };
    this.#running = running;
    child.on("message", (answer: HostAnswer) => {
      running.answers += 1;
      const waiting = running.waiting.get(answer.id);
      if (waiting === undefined) forgetLate(answer);
      else waiting.resolve(answer);
    });
    child.once("error", () => this.#ended(running, "cannot be started"));
    child.once("exit", (code, signal) =>
      this.#ended(running, `ended with ${signal ?? `exit code ${code}`}`),
    );
    // A caller that waits for an answer has a timer, which keeps the program running.
    child.unref();
    child.channel?.unref();
    return running;
  }

  async #exchange(running: Running, request: Asked, untilMs: number): Promise<HostAnswer> {
    const id = this.#nextId++;
    const { answers } = running;
    const restMs = untilMs - this.#clock.monotonicMs();
    if (restMs <= 0) throw this.#unavailable(this.#tooSlow());
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise<HostAnswer>((resolve, reject) => {
        timer = setTimeout(() => {
          // The process may be slow, or hang for ever in a call of the module.
          if (running.answers === answers) this.#kill(running);
          reject(this.#unavailable(this.#tooSlow()));
        }, restMs);
        running.waiting.set(id, { resolve, reject });
        running.child.send({ ...request, id }, (error) => {
          // The process is exiting; its exit event follows.
          if (error !== null) this.#ended(running, "does not listen");
        });
      });
    } finally {
      clearTimeout(timer);
      running.waiting.delete(id);
      this.#retire(running);
    }
  }

  #lost(running: Running, fault: HostFault): void {
    this.#pause("message" in fault ? fault.message : "lost");
    if (this.#running === running) this.#running = undefined;
    this.#retire(running);
  }

  #kill(running: Running): void {
    running.child.kill("SIGKILL");
    this.#ended(running, this.#tooSlow());
  }

  #ended(running: Running, why: string): void {
    for (const { reject } of running.waiting.values()) {
      reject(new HostEnded(`its process ${why}`));
    }
    if (this.#running !== running) return;
    this.#running = undefined;
    this.#pause(`its process ${why}`);
  }

  #pause(why: string): void {
    this.#lastFault = why;
    const pause = this.#failures === 0 ? 0 : Math.min(pauseMaxMs, pauseMs * 2 ** this.#failures);
    this.#failures += 1;
    this.#notBeforeMs = this.#clock.monotonicMs() + pause;
  }

  /** Disconnects a process that gets no more calls, once its last call is answered. */
  #retire(running: Running): void {
    if (this.#running === running && !this.#closed) return;
    if (running.waiting.size > 0) return;
    if (this.#running === running) this.#running = undefined;
    if (running.child.connected) running.child.disconnect();
    setTimeout(() => running.child.kill("SIGKILL"), endMs).unref();
  }

  #tooSlow(): string {
    return `does not answer within ${this.#settings.deadlineMs} ms`;
  }

  #unavailable(why: string): RootOfTrustError {
    const { token } = this.#settings;
    const message = why.startsWith("token ") ? why : `token ${token}: ${why}`;
    return new RootOfTrustError("unavailable", message);
  }
}

function errorOf(fault: HostFault): Error {
  if (fault.kind === "broken") return new SealBroken(fault.message);
  const failure = fault.kind === "failure" ? fault.failure : "denied";
  return new RootOfTrustError(failure, fault.message);
}

/** Erases plaintext in an answer that nobody waits for any more. */
function forgetLate(answer: HostAnswer): void {
  if (!("value" in answer)) return;
  for (const value of Object.values(answer.value ?? {})) {
    if (value instanceof Uint8Array) value.fill(0);
  }
}
