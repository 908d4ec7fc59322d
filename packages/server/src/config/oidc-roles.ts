import { type Role, roles } from "@holdfast/admin";

/** The setting of `admin.oidc` with the values of the claim that give a role. */
const settingOf = {
  viewer: "viewer",
  auditor: "auditor",
  operator: "operator",
  "security-officer": "securityOfficer",
  manager: "manager",
} as const satisfies Readonly<Record<Role, string>>;

/** The settings of `admin.oidc` that give roles. */
export type RoleSettings = Readonly<Record<(typeof settingOf)[Role], readonly string[]>>;

/** The roles that an identity provider can give. */
export function rolesGiven(settings: RoleSettings): readonly Role[] {
  return roles.filter((role) => settings[settingOf[role]].length > 0);
}

/** The roles of somebody whose claim has these values. */
export function rolesOf(values: readonly string[], settings: RoleSettings): readonly Role[] {
  return roles.filter((role) => settings[settingOf[role]].some((one) => values.includes(one)));
}
