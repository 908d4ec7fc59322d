import type { X509Certificate } from "node:crypto";
import { isIssuedBy, isPem, readCertificates, subjectOf } from "../../base/certificates.ts";
import { OperatorError } from "../../base/operator-error.ts";
import { CrlSource, type CrlTimes } from "./crl-source.ts";
import { type Crl, serialOf } from "./read-crl.ts";

export type { Crl } from "./read-crl.ts";

/** Why the revocation lists of an authority refuse a certificate that it issued. */
export type Revocation = "revoked" | "revocationUnknown";

/** An authority that issued a certificate, and the certificate's serial number. */
export interface Listed {
  readonly by: { readonly verdict: (serial: string) => Revocation | undefined };
  readonly serial: string;
}

/** The settings of one authority's lists. */
export interface CrlSettings {
  readonly authority: string;
  readonly files: readonly string[];
  readonly urls: readonly string[];
  readonly required: boolean;
  readonly everySeconds: number;
}

/** One list, as metrics, `doctor` and the audit trail show it. */
export interface CrlReading {
  /** The authority's subject. */
  readonly authority: string;
  readonly required: boolean;
  /** A path, or a URL. */
  readonly source: string;
  /** Undefined if none was read. */
  readonly crl: Crl | undefined;
  readonly inTime: boolean;
  /** Why the last reading failed; empty = it was good. */
  readonly fault: string;
}

export interface RevocationListsOptions extends CrlTimes {
  readonly observe: (event: {
    readonly type: "crl";
    readonly authority: string;
    readonly source: string;
    readonly loaded: boolean;
    readonly detail: string;
  }) => void;
}

const pollMs = 1000;

/** The revocation lists of the configuration: which certificates their authorities take back. */
export class RevocationLists implements Disposable {
  readonly #authorities: readonly AuthorityLists[];
  readonly #observe: RevocationListsOptions["observe"];
  readonly #listeners = new Set<() => void>();
  readonly #timer: NodeJS.Timeout | undefined;
  /** What was reported of each list. */
  readonly #told = new Map<CrlSource, CrlReading>();

  /** Throws an `OperatorError` if an authority cannot be read; the lists are read later. */
  constructor(settings: readonly CrlSettings[], options: RevocationListsOptions) {
    const { observe, ...times } = options;
    this.#observe = observe;
    this.#authorities = settings.map((one, at) => new AuthorityLists(one, at, times));
    if (settings.length > 0) {
      this.#timer = setInterval(() => void this.look(), pollMs).unref();
    }
  }

  /** The authorities with a list that issued this certificate: by name, key and signature. */
  of(certificate: X509Certificate): readonly Listed[] {
    return this.#authorities
      .filter(({ authority }) => authority.subject === certificate.issuer)
      .filter(({ authority }) => isIssuedBy(certificate, authority))
      .map((by) => ({ by, serial: serialOf(certificate) }));
  }

  /** Calls `listener` when a list was replaced, has ended, or is in time again. */
  onChange(listener: () => void): void {
    this.#listeners.add(listener);
  }

  list(): readonly CrlReading[] {
    return this.#authorities.flatMap((one) => one.sources.map((source) => one.reading(source)));
  }

  /** Reads the lists whose time has come. Never rejects. */
  async look(): Promise<void> {
    await this.#each((source) => source.look());
  }

  /** Reads every list now. Never rejects. */
  async reload(): Promise<void> {
    await this.#each((source) => source.read());
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  /** At the same time: a server that does not answer must not delay the others' lists. */
  async #each(act: (source: CrlSource) => Promise<void>): Promise<void> {
    const all = this.#authorities.flatMap((one) => one.sources.map((source) => ({ one, source })));
    await Promise.all(
      all.map(async ({ one, source }) => {
        await act(source);
        this.#tell(source, one.reading(source));
      }),
    );
  }

  #tell(source: CrlSource, now: CrlReading): void {
    const before = this.#told.get(source);
    const { crl, inTime, fault } = now;
    if (before?.crl === crl && before?.inTime === inTime && before.fault === fault) return;
    this.#told.set(source, now);
    const detail = detailOf(now);
    const loaded = inTime && fault === "";
    this.#observe({ type: "crl", authority: now.authority, source: source.place, loaded, detail });
    if (before?.crl === crl && before?.inTime === inTime) return;
    for (const listener of this.#listeners) listener();
  }
}

/** What a log line says of a list. */
function detailOf({ crl, inTime, fault, required }: CrlReading): string {
  const ends = crl === undefined ? "" : new Date(crl.nextUpdateMs).toISOString();
  const late = `it has ended, and the next one should have come by ${ends}`;
  const last = crl === undefined ? "no list counts" : `the last list counts (until ${ends})`;
  const then = required ? "its authority's clients are refused" : last;
  if (fault !== "") return `${fault}; ${inTime ? last : then}`;
  if (!inTime) return `${late}; ${required ? then : "it still counts"}`;
  const { number, revoked } = crl as Crl;
  const named = number === undefined ? "a list" : `list ${number}`;
  return `${named} with ${revoked.size} revoked certificates, until ${ends}`;
}

/** The lists of one authority. */
class AuthorityLists {
  readonly authority: X509Certificate;
  readonly sources: readonly CrlSource[];
  readonly #required: boolean;

  constructor(settings: CrlSettings, at: number, times: CrlTimes) {
    const { files, urls, required, everySeconds } = settings;
    this.authority = authorityOf(settings.authority, `crls[${at}].authority`);
    const { authority } = this;
    const common = { authority, everyMs: everySeconds * 1000, times };
    this.#required = required;
    this.sources = [
      ...files.map((place) => new CrlSource({ kind: "file", place, ...common })),
      ...urls.map((place) => new CrlSource({ kind: "url", place, ...common })),
    ];
  }

  verdict(serial: string): Revocation | undefined {
    if (this.sources.some(({ crl }) => crl?.revoked.has(serial))) return "revoked";
    const known = !this.#required || this.sources.every(({ inTime }) => inTime);
    return known ? undefined : "revocationUnknown";
  }

  reading(source: CrlSource): CrlReading {
    const { crl, inTime, fault, place } = source;
    const required = this.#required;
    return { authority: subjectOf(this.authority), required, source: place, crl, inTime, fault };
  }
}

/** Reads the certificate of an authority with revocation lists. */
function authorityOf(source: string, setting: string): X509Certificate {
  const [authority, ...others] = readCertificates(source, setting);
  if (authority === undefined || others.length > 0 || !authority.ca) {
    const says = "must hold one certificate, that of the authority that signs the lists";
    throw new OperatorError(`${setting}: ${isPem(source) ? "" : `${source} `}${says}`);
  }
  return authority;
}
