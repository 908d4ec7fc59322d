import { timingSafeEqual } from "node:crypto";
import { constants } from "node:fs";
import { lstat, open, readFile, unlink } from "node:fs/promises";
import type { Handlers, Role } from "@holdfast/admin";
import { codeOf, reasonOf } from "../../base/operator-error.ts";
import type { NodeObserver } from "../../observe/events.ts";
import type { Bearer, TokenRefusal, TokenVerifier } from "./bearer.ts";
import type { TokenBook } from "./token-book.ts";
import { hashOf, isToken, newToken } from "./token-text.ts";

export interface BootstrapOptions {
  /** Where the one-time token is written; undefined = never. */
  readonly file: string | undefined;
  /** Whether the node has the API: then a role that nobody has or can get is reported. */
  readonly served?: boolean;
  /** Roles that an identity provider gives: no one-time token is needed for these. */
  readonly elsewhere?: readonly Role[];
  readonly book: Pick<TokenBook, "verify" | "has" | "isFresh">;
  readonly randomBytes: (length: number) => Uint8Array;
  readonly observe: NodeObserver;
  /** Called with what is done with the file; never with its content. */
  readonly say: (message: string, fields: Readonly<Record<string, unknown>>) => void;
}

/** The name and identifier of a caller with the one-time token. */
export const bootstrapId = "bootstrap";

/** What the one-time token may do. Where an approval policy is in force, its holder must find who approves. */
const bootstrapOperations = [
  "createToken",
  "whoAmI",
  "listApprovals",
  "readApproval",
  "signApproval",
  "readApprovalPolicy",
] as const satisfies readonly (keyof Handlers)[];

/** Without one of these, nobody can manage the system, or let its clients in. */
const firstRoles = ["manager", "security-officer"] as const satisfies readonly Role[];
const everyMs = 1000;
const fileBytesMax = 256;

/**
 * The way in while nobody can manage the system, at first or again later: while no valid token has the role manager, or
 * none the role security-officer, the node keeps a one-time token in a file that only its own user can read. It can only
 * make a token with the missing roles. When none is missing, it is void and its file is removed.
 */
export class Bootstrap implements TokenVerifier, AsyncDisposable {
  readonly #options: BootstrapOptions;
  readonly #timer: NodeJS.Timeout | undefined;
  #hash: string | undefined;
  #looking: Promise<void> | undefined;
  #reported = "";

  constructor(options: BootstrapOptions) {
    this.#options = options;
    if (options.file === undefined && options.served !== true) return;
    this.#timer = setInterval(() => void this.look(), everyMs).unref();
  }

  /** The roles that the one-time token can give, and nothing else. */
  get missing(): readonly Role[] {
    const { book, elsewhere = [] } = this.#options;
    return firstRoles.filter((role) => !elsewhere.includes(role) && !book.has(role));
  }

  /** Verifies the book's tokens, and the one-time token while it is valid. */
  verify(token: string): Bearer | TokenRefusal {
    const known = this.#options.book.verify(token);
    if (known !== "unknown" || !this.#counts(token)) return known;
    return {
      id: bootstrapId,
      name: bootstrapId,
      roles: this.missing,
      instances: undefined,
      expiresMs: undefined,
      only: bootstrapOperations,
    };
  }

  /** The one-time token was used: it is void, even if its file remains. */
  used(): void {
    this.#hash = undefined;
    void this.look();
  }

  /** Writes or removes the file, as is needed now. */
  look(): Promise<void> {
    this.#looking ??= this.#look()
      .catch((cause: unknown) => this.#fault(reasonOf(cause)))
      .finally(() => {
        this.#looking = undefined;
      });
    return this.#looking;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await this.#looking;
  }

  #counts(token: string): boolean {
    const hash = this.#hash;
    if (hash === undefined || this.missing.length === 0) return false;
    return timingSafeEqual(Buffer.from(hash, "hex"), Buffer.from(hashOf(token), "hex"));
  }

  async #look(): Promise<void> {
    const { file, book } = this.#options;
    // A store that cannot be read may hold such tokens, so nothing is done then.
    if (!book.isFresh()) return;
    if (file === undefined) this.#warn();
    else if (this.missing.length === 0) {
      this.#hash = undefined;
      await this.#remove(file);
    } else if (this.#hash === undefined || !(await isOurs(file))) {
      await this.#write(file);
    }
  }

  /** Says which role nobody can get: at the start, and when it is another one. */
  #warn(): void {
    const { missing } = this;
    const text = missing.join(" or ");
    if (text === this.#reported) return;
    this.#reported = text;
    if (missing.length === 0) return;
    const says = `no valid token has the role ${text}: ${waysTo(missing)}`;
    this.#options.observe({ type: "warning", message: says });
  }

  async #write(file: string): Promise<void> {
    const { randomBytes, say } = this.#options;
    await this.#clear(file);
    const token = newToken(randomBytes);
    const { O_CREAT, O_EXCL, O_WRONLY, O_NOFOLLOW } = constants;
    const handle = await open(file, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, 0o600);
    try {
      // It is valid before anybody can read it.
      this.#hash = hashOf(token);
      await handle.writeFile(`${token}\n`);
      await handle.sync();
    } catch (error) {
      this.#hash = undefined;
      throw error;
    } finally {
      await handle.close();
    }
    this.#reported = "";
    const roles = this.missing.join(" or ");
    say(`no valid token has the role ${roles}: make one with the one-time token in this file`, {
      file,
    });
  }

  async #remove(file: string): Promise<void> {
    if (!(await isOurs(file))) return;
    await unlink(file);
    const says =
      "a manager and a security officer exist: the one-time token is void, its file removed";
    this.#options.say(says, { file });
  }

  /** Makes room for the file. Another file at this path stays. */
  async #clear(file: string): Promise<void> {
    try {
      await lstat(file);
    } catch (error) {
      if (codeOf(error) === "ENOENT") return;
      throw error;
    }
    if (!(await isOurs(file))) {
      throw new Error(`${file} holds something other than a one-time token: it is left alone`);
    }
    await unlink(file);
  }

  #fault(reason: string): void {
    if (reason === this.#reported) return;
    this.#reported = reason;
    const message = `admin.bootstrapFile: no one-time token can be written: ${reason}`;
    this.#options.observe({ type: "warning", message });
  }
}

/** How somebody gets these roles at a node without `admin.bootstrapFile`. */
export function waysTo(missing: readonly Role[]): string {
  const names: Partial<Record<Role, string>> = { "security-officer": "securityOfficer" };
  const settings = missing.map((role) => `admin.oidc.${names[role] ?? role}`).join(" and ");
  return `set admin.bootstrapFile, or ${settings}, and restart the node (docs/certificates.md, The first token)`;
}

/** Whether a file is one that a node wrote, with nothing else in it. */
async function isOurs(file: string): Promise<boolean> {
  try {
    const { size, mode } = await lstat(file);
    const regular = (mode & constants.S_IFMT) === constants.S_IFREG;
    if (!regular || size > fileBytesMax) return false;
    return isToken((await readFile(file, "latin1")).trim());
  } catch {
    return false;
  }
}
