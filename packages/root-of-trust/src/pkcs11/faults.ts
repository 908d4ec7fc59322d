import type { RootOfTrustFailure } from "@holdfast/engine";

/** Like `RootOfTrustError`, which cannot be used here: it would load the whole engine into the token's process. */
export class TokenFailure extends Error {
  override readonly name = "TokenFailure";
  readonly failure: RootOfTrustFailure;
  constructor(failure: RootOfTrustFailure, message: string) {
    super(message);
    this.failure = failure;
  }
}

/** A blob did not authenticate; like `SealBroken`. */
export class BlobBroken extends Error {
  override readonly name = "BlobBroken";
}

/** The token, or the connection to it, is lost: start again from the beginning. */
export class TokenLost extends Error {
  override readonly name = "TokenLost";
}

/** The token refused this PIN, now or before; or the PIN was not tried because that could lock the token. */
export class PinRefused extends Error {
  override readonly name = "PinRefused";
  readonly tried: boolean;
  constructor(message: string, tried: boolean) {
    super(message);
    this.tried = tried;
  }
}
