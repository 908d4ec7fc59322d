import type { RootOfTrustFailure } from "@holdfast/engine";
import { TokenLost } from "./faults.ts";

/** Return values of PKCS#11 3.1, section 6.1 (CKR_…), grouped by their meaning here. */
const pinCodes: ReadonlySet<number> = new Set([
  0xa0, // PIN_INCORRECT
  0xa1, // PIN_INVALID
  0xa2, // PIN_LEN_RANGE
  0xa3, // PIN_EXPIRED
  0xa4, // PIN_LOCKED
  0x103, // USER_TYPE_INVALID
]);
const disabledCodes: ReadonlySet<number> = new Set([
  0x1b, // ACTION_PROHIBITED
  0x68, // KEY_FUNCTION_NOT_PERMITTED
]);
/** The known state of the token is lost: session, login, slot, key handles, or the library's own state. */
const lostCodes: ReadonlySet<number> = new Set([
  0x03, // SLOT_ID_INVALID
  0x05, // GENERAL_ERROR
  0x06, // FUNCTION_FAILED
  0x30, // DEVICE_ERROR
  0x32, // DEVICE_REMOVED
  0x60, // KEY_HANDLE_INVALID
  0x82, // OBJECT_HANDLE_INVALID
  0x90, // OPERATION_ACTIVE
  0xb0, // SESSION_CLOSED
  0xb3, // SESSION_HANDLE_INVALID
  0xe0, // TOKEN_NOT_PRESENT
  0xe1, // TOKEN_NOT_RECOGNIZED
  0x101, // USER_NOT_LOGGED_IN
  0x102, // USER_PIN_NOT_INITIALIZED: no PIN was tried; SoftHSM answers so while another process writes the token
  0x190, // CRYPTOKI_NOT_INITIALIZED
]);
const alreadyInitialised = 0x191;
const alreadyLoggedIn = 0x100;

/** Whether the state of the token must be read again from the start. */
export function isLost(error: unknown): boolean {
  return error instanceof TokenLost || lostCodes.has(codeOf(error) ?? -1);
}

/** Whether the token refuses the PIN. Such a PIN must not be tried again: the token counts the tries. */
export function isPinRefused(error: unknown): boolean {
  return pinCodes.has(codeOf(error) ?? -1);
}

/** Whether the process has already done this: initialised the library, or logged in. */
export function isDone(error: unknown): boolean {
  const code = codeOf(error);
  return code === alreadyInitialised || code === alreadyLoggedIn;
}

/** Which of the four failures a PKCS#11 call's error is. */
export function failureOf(error: unknown): RootOfTrustFailure {
  if (isPinRefused(error)) return "denied";
  return disabledCodes.has(codeOf(error) ?? -1) ? "disabled" : "unavailable";
}

/** One line for an error of a call, such as `C_Login: CKR_PIN_INCORRECT`. */
export function textOf(error: unknown): string {
  if (!(error instanceof Error)) return "unknown error";
  const method = "method" in error && typeof error.method === "string" ? `${error.method}: ` : "";
  return `${method}${error.message.split("\n")[0] ?? ""}`;
}

function codeOf(error: unknown): number | undefined {
  if (!(error instanceof Error) || !("code" in error)) return undefined;
  return typeof error.code === "number" ? error.code : undefined;
}
