/* A module that passes everything on to another, counts the logins, and can say of a refused one what some
 * vendors' modules say instead of CKR_PIN_INCORRECT. It signs nothing, and does not come back, while a file is there. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* As PKCS#11 2.40 lays it out; C_Login is the nineteenth, C_Sign the forty-fourth. */
enum { FUNCTIONS = 68, LOGIN = 18, SIGN = 43 };
struct list {
    unsigned char version[2];
    void *function[FUNCTIONS];
};
typedef unsigned long login_t(unsigned long, unsigned long, unsigned char *, unsigned long);

static struct list list;
static login_t *passed_on;
typedef unsigned long sign_t(unsigned long, unsigned char *, unsigned long, unsigned char *, unsigned long *);
static sign_t *sign_on;

static unsigned long log_in(unsigned long session, unsigned long who, unsigned char *pin, unsigned long length) {
    FILE *count = fopen(getenv("PKCS11_TEST_LOGINS"), "a");
    fputc('x', count);
    fclose(count);
    unsigned long said = passed_on(session, who, pin, length);
    const char *instead = getenv("PKCS11_TEST_REFUSAL");
    return said != 0 && instead ? strtoul(instead, NULL, 0) : said;
}

static unsigned long sign(unsigned long session, unsigned char *data, unsigned long length, unsigned char *out,
                          unsigned long *room) {
    const char *hangs = getenv("PKCS11_TEST_HANGS");
    while (hangs && access(hangs, F_OK) == 0)
        usleep(10000);
    return sign_on(session, data, length, out, room);
}

unsigned long C_GetFunctionList(struct list **out) {
    void *module = dlopen(MODULE, RTLD_NOW | RTLD_LOCAL);
    unsigned long (*get)(struct list **) = module ? dlsym(module, "C_GetFunctionList") : NULL;
    struct list *real;
    if (!get || get(&real) != 0)
        return 5;
    list = *real;
    passed_on = list.function[LOGIN];
    list.function[LOGIN] = log_in;
    sign_on = list.function[SIGN];
    list.function[SIGN] = sign;
    *out = &list;
    return 0;
}
