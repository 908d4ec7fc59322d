/** Why a sign-in at the identity provider failed: a sentence for each code that the node puts into the address. */
const sentences: Readonly<Record<string, string>> = {
  providerDown: "The identity provider does not answer. Try again in a moment.",
  providerRefused:
    "The identity provider does not sign people in for this console. The node's log says why: admin.console.signIn.",
  denied: "You did not sign in: the identity provider says that access was denied.",
  otherFlow:
    "This sign-in was not begun in this browser, was begun twice, or took more than ten minutes. Begin again.",
  usedCode: "The identity provider does not accept this sign-in any more. Begin again.",
  wrongType:
    "The identity provider gave a token that is not an access token: its type is not listed in admin.oidc.tokenTypes.",
  longLived:
    "The identity provider gave a token that is valid for longer than admin.oidc.lifetimeMaxSeconds.",
  noSubject:
    "The identity provider gave a token that names nobody: its claim sub must be a text that is not empty.",
  expired:
    "The identity provider gave a token that has ended. Are the clocks of the node and of the provider right?",
  noRole:
    "The identity provider knows you, but its token gives you no role here, or is for another service. Ask a manager which groups have access.",
  tooLarge:
    "The identity provider gave a token of more than 3,900 characters, which does not fit into a cookie. It must name fewer groups.",
  noSignOut: "The identity provider offers no sign-out. End your session on its own page.",
  tooMany: "There were too many tries from this address. Wait a moment, and try again.",
};

/** The sentence for a code; nothing of the address itself is shown. */
export function failureSentence(code: string): string {
  return Object.hasOwn(sentences, code)
    ? (sentences[code] as string)
    : "The sign-in at the identity provider failed. Try again.";
}
