import type { RootOfTrustFailure } from "@holdfast/engine";

/** A root of trust's failure, as `RootOfTrustError`, which would bring the whole engine into the token's process. */
export class TokenFailure extends Error {
  override readonly name = "TokenFailure";
  readonly failure: RootOfTrustFailure;
  constructor(failure: RootOfTrustFailure, message: string) {
    super(message);
    this.failure = failure;
  }
}

/** A blob did not authenticate, as `SealBroken`. */
export class BlobBroken extends Error {
  override readonly name = "BlobBroken";
}

/** The token, or the connection to it, is lost: what follows is to begin anew. */
export class TokenLost extends Error {
  override readonly name = "TokenLost";
}

/** The token refused this PIN, now or before; or it is not to be asked, as it would be locked. */
export class PinRefused extends Error {
  override readonly name = "PinRefused";
  readonly tried: boolean;
  constructor(message: string, tried: boolean) {
    super(message);
    this.tried = tried;
  }
}
