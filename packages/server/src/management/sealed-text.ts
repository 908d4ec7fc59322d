import { ManagementError } from "@holdfast/admin";
import {
  type KeyRing,
  KeyRingUnavailable,
  type Resealer,
  RootOfTrustError,
  type SealBinding,
  SealBroken,
  type SealedMaterial,
  StoreUnavailable,
} from "@holdfast/engine";
import { z } from "zod";

const sealedText = z.object({
  kek: z.string(),
  nonce: z.base64(),
  ciphertext: z.base64(),
});

/** Seals a secret under its instance's KEK, so that both regions can open it, as a text that a record's field can hold. */
export async function sealText(
  keyRing: Pick<KeyRing, "seal">,
  binding: SealBinding,
  secret: Uint8Array,
): Promise<string> {
  return textOf(await keyRing.seal(binding, secret));
}

/** The same secret under one KEK of its instance. */
export async function resealText(
  keyRing: Pick<Resealer, "reseal">,
  binding: SealBinding,
  sealed: string,
  kekId: string,
): Promise<string> {
  return textOf(await keyRing.reseal(binding, materialOf(sealed), kekId));
}

/** The id of the KEK that opens such a text; undefined for any other text. */
export function kekOfText(sealed: string): string | undefined {
  try {
    return materialOf(sealed).kekId;
  } catch {
    return undefined;
  }
}

function textOf({ kekId, nonce, ciphertext }: SealedMaterial): string {
  return JSON.stringify({
    kek: kekId,
    nonce: Buffer.from(nonce).toString("base64"),
    ciphertext: Buffer.from(ciphertext).toString("base64"),
  });
}

/** Opens what `sealText` made; the caller zeroes it. */
export async function openText(
  keyRing: Pick<KeyRing, "open">,
  binding: SealBinding,
  sealed: string,
): Promise<Uint8Array> {
  return await keyRing.open(binding, materialOf(sealed));
}

/** Rejects with a refusal of the management API where the instance's keys cannot seal or open now. */
export async function sealedOr<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof StoreUnavailable) {
      throw new ManagementError("storeUnavailable", error.message);
    }
    if (error instanceof RootOfTrustError || error instanceof KeyRingUnavailable) {
      const refused =
        error instanceof KeyRingUnavailable ? error.refused : error.failure !== "unavailable";
      throw new ManagementError(
        refused ? "rootDenied" : "rootUnavailable",
        "the instance's keys cannot be opened in this region now: see its root of trust",
      );
    }
    throw error;
  }
}

function materialOf(sealed: string): SealedMaterial {
  try {
    const { kek, nonce, ciphertext } = sealedText.parse(JSON.parse(sealed));
    return {
      kekId: kek,
      nonce: Buffer.from(nonce, "base64"),
      ciphertext: Buffer.from(ciphertext, "base64"),
    };
  } catch {
    throw new SealBroken("a sealed field of a system record cannot be read");
  }
}
