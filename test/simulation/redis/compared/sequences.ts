/** The seed of all random sequences; more of them continue the same ones. */
export const seed = 20_261_128;

/** How many sequences are compared: `usual`, or HOLDFAST_SEQUENCES. */
export function sequencesOr(usual: number): number {
  const text = process.env["HOLDFAST_SEQUENCES"];
  if (text === undefined) return usual;
  if (!/^[1-9]\d{0,6}$/.test(text)) {
    throw new RangeError(
      `HOLDFAST_SEQUENCES is ${JSON.stringify(text)}: it must be a number from 1 on`,
    );
  }
  return Number(text);
}
