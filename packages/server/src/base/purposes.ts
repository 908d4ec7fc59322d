/** Purposes that a certificate may name (RFC 5280, 4.2.1.12). */
export const purposes = {
  serverAuth: "1.3.6.1.5.5.7.3.1",
  clientAuth: "1.3.6.1.5.5.7.3.2",
} as const;
