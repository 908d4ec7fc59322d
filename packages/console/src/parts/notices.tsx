import type { ComponentChildren } from "preact";
import { words } from "../base/text.ts";

/** The kinds of notices, as Clarity names them. */
export type Tone = "danger" | "warning" | "success" | "info";

/** A notice. A danger is read out at once. */
export function Notice({ tone, children }: { tone: Tone; children: ComponentChildren }) {
  return (
    <div class={`alert alert-${tone}`} role={tone === "danger" ? "alert" : "status"}>
      <div class="alert-items">
        <div class="alert-item static">
          <div class="alert-text">{children}</div>
        </div>
      </div>
    </div>
  );
}

/** What went wrong, in the service's words. */
export function Failure({ error, again }: { error: unknown; again?: () => void }) {
  return (
    <Notice tone="danger">
      {messageOf(error)}{" "}
      {again === undefined ? null : (
        <button type="button" class="btn btn-sm btn-primary" onClick={again}>
          Try again
        </button>
      )}
    </Notice>
  );
}

/** The message of an error; a browser's own ones say little. */
export function messageOf(error: unknown): string {
  if (error instanceof TypeError) return "No answer: the connection failed.";
  const text = error instanceof Error ? error.message : String(error);
  // The service names fields by their place in the request.
  return text.replaceAll(/\b(?:body|query|params)\.([\w.]+)/g, (_, place: string) =>
    place.split(".").map(words).join(", "),
  );
}

/** Shown while data is on its way. */
export function Loading({ text = "Loading…" }: { text?: string }) {
  return (
    <p role="status">
      <span class="spinner spinner-inline" aria-hidden="true" /> {text}
    </p>
  );
}

const tones: Readonly<Record<string, Tone>> = {
  Installed: "success",
  Active: "success",
  ok: "success",
  success: "success",
  valid: "success",
  up: "success",
  applied: "success",
  Failed: "danger",
  Error: "danger",
  failed: "danger",
  failure: "danger",
  expired: "danger",
  revoked: "danger",
  Compromised: "danger",
  DestroyedCompromised: "danger",
  shredded: "danger",
  down: "danger",
  critical: "danger",
  warning: "warning",
  pending: "warning",
  unknown: "warning",
  in7days: "warning",
  in1day: "warning",
  Destroyed: "warning",
};

/** A state as a coloured label; its word, or another text, says the same. */
export function State({ of, text = of }: { of: string; text?: string }) {
  const tone = tones[of] ?? "info";
  return <span class={`label label-${tone}`}>{text === "PreActive" ? "Pre-Active" : text}</span>;
}
