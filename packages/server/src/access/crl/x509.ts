// A module of its own, for `import()`: in a bundle, `import("@peculiar/x509")` has no names, since it is CommonJS.
import "reflect-metadata";
import { KeyUsageFlags, KeyUsagesExtension, X509Certificate, X509Crl } from "@peculiar/x509";

export { KeyUsageFlags, KeyUsagesExtension, X509Certificate, X509Crl };
