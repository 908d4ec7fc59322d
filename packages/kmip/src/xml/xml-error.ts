/** What is wrong with a KMIP XML text, and in which line; or with an item that XML cannot say, in line 0. */
export class XmlError extends Error {
  override readonly name = "XmlError";
  readonly line: number;

  constructor(what: string, line: number) {
    super(line === 0 ? what : `${what} (line ${line})`);
    this.line = line;
  }
}
