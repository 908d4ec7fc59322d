/** What happened, for metrics, log and traces; one typed stream. Never carries key material. */
export type Event =
  | {
      readonly type: "operation";
      readonly operation: string;
      readonly version: string;
      readonly instance: string;
      /** "Success" or a Result Reason. */
      readonly result: string;
      readonly durationMs: number;
      readonly requestId: string;
      readonly fingerprint: string;
      readonly uniqueIdentifier?: string;
      /** The cause of an internal error, for the log only. */
      readonly cause?: unknown;
    }
  | { readonly type: "storeCommand"; readonly command: string; readonly durationMs: number }
  | {
      readonly type: "barrier";
      readonly durationMs: number;
      readonly batch: number;
      readonly full: boolean;
    }
  | {
      readonly type: "lease";
      readonly state: "full" | "readOnly" | "none";
      readonly reason: string;
    }
  | { readonly type: "lock"; readonly result: "acquired" | "contended" | "unavailable" }
  | { readonly type: "unwrap"; readonly durationMs: number; readonly ok: boolean }
  | { readonly type: "coveredRead"; readonly waited: boolean }
  | { readonly type: "casConflict"; readonly operation: string }
  | { readonly type: "warning"; readonly message: string; readonly cause?: unknown };

export type Observer = (event: Event) => void;
