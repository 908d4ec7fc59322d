/** What is wrong with a KMIP XML text, and its line; line 0 for an item that XML cannot express. */
export class XmlError extends Error {
  override readonly name = "XmlError";
  readonly line: number;

  constructor(what: string, line: number) {
    super(line === 0 ? what : `${what} (line ${line})`);
    this.line = line;
  }
}
