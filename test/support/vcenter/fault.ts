/** A fault of the VI JSON API: its name is the fault's type. */
export class Fault extends Error {
  override readonly name: string;

  constructor(name: string, message: string) {
    super(message);
    this.name = name;
  }
}
