import type { Role } from "@holdfast/admin";

/** Whether a person is offered an operation: whether their roles allow it, and a token that is bound to instances does too. */
export function mayCall(
  { roles, scope }: { readonly roles: readonly Role[] | "public"; readonly scope: string },
  who: {
    readonly roles: readonly Role[];
    /** Undefined if the token is bound to none. */
    readonly instances?: readonly string[] | undefined;
  },
): boolean {
  if (roles === "public") return true;
  const isBound = who.instances !== undefined;
  return who.roles.some((role) => roles.includes(role)) && !(scope === "system" && isBound);
}
