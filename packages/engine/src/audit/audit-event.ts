/** One line of evidence. `detail` never holds key material or passwords. */
export interface AuditEvent {
  readonly time: number;
  readonly action: string;
  readonly outcome: "pending" | "success" | "failure" | "unknown";
  readonly reason?: string;
  /** Fingerprint of the client's certificate, or the user name of an administrator. */
  readonly initiator: string;
  readonly target?: string;
  readonly requestId: string;
  readonly detail?: Readonly<Record<string, string | number>>;
}

/** Name of the detail that says which other region sent an event; the region that keeps the event writes it. */
export const fromRegion = "fromRegion";
