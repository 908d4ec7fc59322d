import { createHash } from "node:crypto";
import { isDone, isLost, isPinRefused, textOf } from "./codes.ts";
import { PinRefused, TokenFailure, TokenLost } from "./faults.ts";
import type { Handle, Library } from "./native.ts";

/** Token flags (PKCS#11 3.1, table 6). */
const loginRequired = 0x4;
const pinFinalTry = 0x2_0000;
const pinLocked = 0x4_0000;
/** States of a session that is logged in (PKCS#11 3.1, CK_STATE): read-only, and read and write. */
const userStates: ReadonlySet<number> = new Set([1, 3]);

/** One token, found by its label: its sessions, each for one call at a time, and the login that they share. */
export class Token {
  readonly library: Library;
  readonly label: string;
  /** Increases whenever the known state is discarded: key handles are valid for one epoch. */
  epoch = 0;
  #slot: Handle | undefined;
  #idle: Handle[] = [];
  #loggedIn = false;
  #refusedPin: string | undefined;

  constructor(library: Library, label: string) {
    this.library = library;
    this.label = label;
  }

  /** Runs `body` with its own session, logged in. Runs it a second time, from the start, if the token was lost. */
  async withSession<Result>(
    pin: string,
    body: (session: Handle) => Promise<Result>,
  ): Promise<Result> {
    const { epoch } = this;
    try {
      return await this.#once(pin, body);
    } catch (error) {
      if (!isLost(error)) throw error;
      if (this.epoch === epoch) this.#forget();
      return await this.#once(pin, body);
    }
  }

  /** The mechanisms that the token offers. */
  mechanisms(): ReadonlySet<number> {
    return new Set(this.library.calls.C_GetMechanismList(this.#findSlot()));
  }

  async #once<Result>(pin: string, body: (session: Handle) => Promise<Result>): Promise<Result> {
    const { epoch } = this;
    const session = this.#idle.pop() ?? this.#openSession(pin);
    let sound = false;
    try {
      const result = await body(session);
      sound = true;
      return result;
    } catch (error) {
      if (this.#hasEndedLogin(session))
        throw new TokenLost(`token ${this.label} has ended the login`);
      // An error with its own code ended the operation, so the session can be reused.
      sound = !isLost(error) && !(error instanceof TypeError);
      throw error;
    } finally {
      if (sound && this.epoch === epoch) this.#idle.push(session);
      else this.#close(session);
    }
  }

  #openSession(pin: string): Handle {
    const { calls, native } = this.library;
    const slot = this.#findSlot();
    const session = calls.C_OpenSession(slot, native.CKF_SERIAL_SESSION | native.CKF_RW_SESSION);
    try {
      this.#login(slot, session, pin);
    } catch (error) {
      this.#close(session);
      throw error;
    }
    return session;
  }

  #login(slot: Handle, session: Handle, pin: string): void {
    if (this.#loggedIn) return;
    const { calls, native } = this.library;
    const { flags } = calls.C_GetTokenInfo(slot);
    if ((flags & loginRequired) === 0) return;
    this.#guard(flags, pin);
    try {
      calls.C_Login(session, native.CKU_USER, pin);
    } catch (error) {
      if (isPinRefused(error)) {
        this.#refusedPin = digestOf(pin);
        throw new PinRefused(`token ${this.label} refuses its PIN (${textOf(error)})`, true);
      }
      if (!isDone(error)) throw error;
    }
    this.#loggedIn = true;
    this.#refusedPin = undefined;
  }

  /** Whether the token has logged this process out by itself. Then it finds no private key, without an error. */
  #hasEndedLogin(session: Handle): boolean {
    if (!this.#loggedIn) return false;
    const { calls } = this.library;
    try {
      return !userStates.has(calls.C_GetSessionInfo(session).state);
    } catch {
      // The error that came first says what is wrong.
      return false;
    }
  }

  /** Never tries a refused PIN twice, and leaves the last try to people: a locked token costs all of its keys. */
  #guard(flags: number, pin: string): void {
    if ((flags & pinLocked) !== 0) {
      throw new PinRefused(`token ${this.label}: its PIN is locked; unlock it by hand`, false);
    }
    if ((flags & pinFinalTry) !== 0) {
      throw new PinRefused(
        `token ${this.label} has only one try of its PIN left, which Holdfast does not use: log in once by hand`,
        false,
      );
    }
    if (this.#refusedPin === digestOf(pin)) {
      throw new PinRefused(`token ${this.label} refused this PIN a moment ago`, true);
    }
  }

  #findSlot(): Handle {
    if (this.#slot !== undefined) return this.#slot;
    const { calls } = this.library;
    const labelled = calls.C_GetSlotList(true).filter((slot) => {
      try {
        return unpadded(calls.C_GetTokenInfo(slot).label) === this.label;
      } catch {
        return false;
      }
    });
    if (labelled.length > 1) {
      throw new TokenFailure(
        "unavailable",
        `${labelled.length} tokens are labelled ${this.label}: give each a label of its own`,
      );
    }
    const [slot] = labelled;
    if (slot === undefined) throw new TokenLost(`no slot has a token labelled ${this.label}`);
    this.#slot = slot;
    return slot;
  }

  #forget(): void {
    this.epoch += 1;
    const idle = this.#idle;
    this.#idle = [];
    this.#slot = undefined;
    this.#loggedIn = false;
    for (const session of idle) this.#close(session);
  }

  #close(session: Handle): void {
    try {
      this.library.calls.C_CloseSession(session);
    } catch {
      // The session is already closed.
    }
  }
}

/** Labels are padded with blanks (PKCS#11 3.1, CK_TOKEN_INFO). */
function unpadded(label: string): string {
  return label.replace(/[ \0]+$/, "");
}

function digestOf(pin: string): string {
  return createHash("sha256").update(pin).digest("hex");
}
