/** The part of a syntax tree's node that is looked at. */
interface Node {
  readonly type: string;
  readonly value?: unknown;
  readonly quasis?: readonly { readonly value: { readonly raw: string } }[];
}

const ignored = "a text for people: names in the code have no blanks";

/** A plug-in of Stryker: it leaves out mutants of texts for people, whose wording no rule depends on. */
class Texts {
  /** Why a node is left out; undefined for all others. */
  shouldIgnore({ node }: { readonly node: Node }): string | undefined {
    const parts =
      node.type === "StringLiteral"
        ? [String(node.value)]
        : (node.quasis ?? []).map(({ value }) => value.raw);
    return parts.some((part) => part.includes(" ")) ? ignored : undefined;
  }
}

/** The name under which Stryker's setting `ignorers` selects it. */
export const ignorer = "texts";

/** What Stryker looks for in a file of plug-ins. */
export const strykerPlugins = [{ kind: "Ignore", name: ignorer, injectableClass: Texts }];
