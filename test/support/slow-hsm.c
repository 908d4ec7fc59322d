/*
 * A PKCS#11 module in front of another one, for tests of slow and failing hardware: it hands every call on, after what a
 * file says. Variables: HSM_MODULE (the module behind), HSM_FAULTS (the file: "DELAY_MS CODE HANG"). Encrypt, decrypt and
 * sign wait DELAY_MS; with a CODE other than 0 they answer it, and C_OpenSession and C_GetTokenInfo; with HANG the search
 * for keys never ends. Each C_Login adds a byte to the file HSM_FAULTS.logins. A file HSM_FAULTS.logout ends the login before
 * the next search for keys, once.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef unsigned long rv;
typedef void *any;
typedef rv (*call)(any, any, any, any, any, any);

/* CK_FUNCTION_LIST (PKCS#11 2.40): a version of two bytes, filled up, then functions in the order of the standard. */
enum {
  token_info = 6, open_session = 12, login = 18, logout = 19, find_init = 26, encrypt = 30, decrypt = 34, sign = 43, functions = 68
};
static struct { unsigned char version[2]; call at[functions]; } list, *real;

static void faults(long *delay, long *code, long *hang) {
  *delay = *code = *hang = 0;
  FILE *file = fopen(getenv("HSM_FAULTS"), "r");
  if (!file) return;
  if (fscanf(file, "%ld %ld %ld", delay, code, hang) < 1) *delay = 0;
  fclose(file);
}

static rv before(int slow) {
  long delay, code, hang;
  faults(&delay, &code, &hang);
  if (slow && delay) {
    struct timespec time = { delay / 1000, (delay % 1000) * 1000000L };
    nanosleep(&time, NULL);
  }
  /* CKR_KEY_FUNCTION_NOT_PERMITTED is a matter of keys alone, CKR_USER_PIN_NOT_INITIALIZED one of the login. */
  return code != 0x102 && (slow || code != 0x68) ? (rv)code : 0;
}

#define FRONT(name, index, slow) \
  static rv name(any a, any b, any c, any d, any e, any f) { \
    rv code = before(slow); \
    return code ? code : real->at[index](a, b, c, d, e, f); \
  }
FRONT(slow_encrypt, encrypt, 1)
FRONT(slow_decrypt, decrypt, 1)
FRONT(slow_sign, sign, 1)
FRONT(front_open_session, open_session, 0)
FRONT(front_token_info, token_info, 0)

static rv front_login(any a, any b, any c, any d, any e, any f) {
  char path[4096];
  snprintf(path, sizeof path, "%s.logins", getenv("HSM_FAULTS"));
  FILE *file = fopen(path, "a");
  if (file) {
    fputc('.', file);
    fclose(file);
  }
  long delay, code, hang;
  faults(&delay, &code, &hang);
  if (code == 0x102) return (rv)code;
  return real->at[login](a, b, c, d, e, f);
}

static rv front_find_init(any a, any b, any c, any d, any e, any f) {
  long delay, code, hang;
  faults(&delay, &code, &hang);
  while (hang) sleep(1);
  char path[4096];
  snprintf(path, sizeof path, "%s.logout", getenv("HSM_FAULTS"));
  if (unlink(path) == 0) real->at[logout](a, 0, 0, 0, 0, 0);
  return real->at[find_init](a, b, c, d, e, f);
}

rv C_GetFunctionList(any *out) {
  void *module = dlopen(getenv("HSM_MODULE"), RTLD_NOW | RTLD_LOCAL);
  if (!module) return 5;
  rv (*get)(any *) = (rv (*)(any *))dlsym(module, "C_GetFunctionList");
  rv code = get((any *)&real);
  if (code) return code;
  memcpy(&list, real, sizeof list);
  list.at[encrypt] = slow_encrypt;
  list.at[decrypt] = slow_decrypt;
  list.at[sign] = slow_sign;
  list.at[open_session] = front_open_session;
  list.at[token_info] = front_token_info;
  list.at[login] = front_login;
  list.at[find_init] = front_find_init;
  *out = &list;
  return 0;
}
