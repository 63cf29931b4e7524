/* A libnvidia-ml.so.1 for tests of the real pynvml package. What it answers is read from the file NVML_SCENARIO at every call, so
 * a test changes the machine by writing that file (see simulated.py, which documents its lines). Stand-in trainers add what they
 * hold to NVML_SCENARIO.jobs.
 * Handles carry the generation of the driver that gave them: after a reload they are stale, as the session is. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#define MOST 64
typedef unsigned long long u64;
typedef u64 device; /* generation << 16 | gpu << 8 | mig place + 1 (0: the whole GPU), all + 1 << 32 so that none is NULL */
typedef struct { u64 total, free, used; } memory_v1;
typedef struct { unsigned int version; u64 total, reserved, free, used; } memory_v2;
typedef struct { unsigned int gpu, memory; } utilization;
typedef struct { unsigned int pid; u64 used; unsigned int gi, ci; } process_info;
typedef struct { device device; u64 type, data; unsigned int gi, ci; } event_data;

typedef struct { char uuid[96], name[96]; int gpu, mig; u64 total, reserved; int util, temp, sm, mem, clocks, mig_on;
                 unsigned power, limit; int capability; u64 throttle, ecc_volatile, ecc_aggregate; } card;
typedef struct { char uuid[96]; int pid, draws; u64 used; } holder;
typedef struct { char function[64]; int code, gpu; } failure;
typedef struct { int gpu, code; } fault;

static card cards[MOST]; static int card_count;
static holder holders[MOST]; static int holder_count;
static failure failures[MOST]; static int failure_count;
static fault faults[MOST]; static int fault_count;
static int lost[MOST], lost_count, generation, cuda;
static char driver[64];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int opened_generation = -1, openers, faults_told;

static double now(void) { struct timeval t; gettimeofday(&t, NULL); return t.tv_sec + t.tv_usec / 1e6; }

static u64 number(const char *line, const char *key, u64 otherwise) {
    char wanted[64];
    snprintf(wanted, sizeof wanted, " %s=", key);
    const char *found = strstr(line, wanted);
    return found ? strtoull(found + strlen(wanted), NULL, 0) : otherwise;
}
static void string(const char *line, const char *key, char *to, size_t size) {
    char wanted[64];
    snprintf(wanted, sizeof wanted, " %s=", key);
    const char *found = strstr(line, wanted);
    if (!found) return;
    found += strlen(wanted);
    size_t length = strcspn(found, " \n");
    if (length >= size) length = size - 1;
    memcpy(to, found, length);
    to[length] = 0;
    for (char *c = to; *c; c++) if (*c == '~') *c = ' ';
}
/* Bytes at this moment of a curve "seconds:bytes,seconds:bytes,...", seconds since the line's start=. */
static u64 on_curve(const char *line) {
    const char *found = strstr(line, " curve=");
    double elapsed = now() - (double)number(line, "start", 0), t0 = 0, b0 = 0, t, b;
    found = found ? found + strlen(" curve=") : "";
    for (int first = 1; sscanf(found, "%lf:%lf", &t, &b) == 2; first = 0) {
        if (elapsed <= t) return first || t <= t0 ? (u64)b : (u64)(b0 + (b - b0) * (elapsed - t0) / (t - t0));
        t0 = t; b0 = b;
        found += strcspn(found, ", \n");
        if (*found++ != ',') break;
    }
    return (u64)b0;
}
static void read_file(const char *path) {
    FILE *file = fopen(path, "r");
    char line[1024];
    while (file && fgets(line, sizeof line, file)) {
        if (!strncmp(line, "gpu ", 4) && card_count < MOST) {
            card *c = &cards[card_count++];
            memset(c, 0, sizeof *c);
            string(line, "uuid", c->uuid, sizeof c->uuid); string(line, "name", c->name, sizeof c->name);
            c->gpu = (int)number(line, "gpu", 0); c->mig = (int)number(line, "mig", -1ULL);
            c->total = number(line, "total", 0); c->reserved = number(line, "reserved", 0);
            c->util = (int)number(line, "util", 0); c->temp = (int)number(line, "temp", 30);
            c->power = (unsigned)number(line, "power", 50000); c->limit = (unsigned)number(line, "limit", 300000);
            c->sm = (int)number(line, "sm", 1410); c->mem = (int)number(line, "mem", 1215);
            c->throttle = number(line, "throttle", 0); c->mig_on = (int)number(line, "mig_on", 0);
            c->capability = (int)number(line, "capability", 90);
            c->ecc_volatile = number(line, "ecc_volatile", 0); c->ecc_aggregate = number(line, "ecc_aggregate", 0);
        } else if (!strncmp(line, "process ", 8) && holder_count < MOST) {
            holder *h = &holders[holder_count];
            memset(h, 0, sizeof *h);
            string(line, "uuid", h->uuid, sizeof h->uuid);
            h->pid = (int)number(line, "pid", 0); h->draws = (int)number(line, "draws", 0);
            h->used = strstr(line, " curve=") ? on_curve(line) : number(line, "bytes", 0);
            if (number(line, "foreign", 0) || !kill(h->pid, 0)) holder_count++; /* memory of the dead is free */
        } else if (!strncmp(line, "fail ", 5) && failure_count < MOST) {
            failure *f = &failures[failure_count++];
            string(line, "function", f->function, sizeof f->function);
            f->code = (int)number(line, "code", 0); f->gpu = (int)number(line, "gpu", -1ULL);
        } else if (!strncmp(line, "xid ", 4) && fault_count < MOST) {
            faults[fault_count].gpu = (int)number(line, "gpu", 0);
            faults[fault_count++].code = (int)number(line, "code", 0);
        } else if (!strncmp(line, "lost ", 5) && lost_count < MOST) lost[lost_count++] = (int)number(line, "gpu", 0);
        else if (!strncmp(line, "driver ", 7)) {
            generation = (int)number(line, "generation", 0); cuda = (int)number(line, "cuda", 12080);
            string(line, "version", driver, sizeof driver);
        }
    }
    if (file) fclose(file);
}
static void read_scenario(void) {
    const char *path = getenv("NVML_SCENARIO");
    char jobs[1024];
    card_count = holder_count = failure_count = fault_count = lost_count = generation = 0;
    if (!path) return;
    read_file(path);
    snprintf(jobs, sizeof jobs, "%s.jobs", path);
    read_file(jobs);
}
static int failing(const char *function, int gpu) {
    for (int i = 0; i < failure_count; i++)
        if (!strcmp(failures[i].function, function) && (failures[i].gpu < 0 || failures[i].gpu == gpu)) return failures[i].code;
    for (int i = 0; i < lost_count; i++) if (lost[i] == gpu) return 15;
    return 0;
}
static card *card_of(int gpu, int mig) {
    for (int i = 0; i < card_count; i++) if (cards[i].gpu == gpu && cards[i].mig == mig) return &cards[i];
    return NULL;
}
static device handle(int gpu, int mig) { return 1ULL << 32 | (u64)generation << 16 | (u64)gpu << 8 | (u64)(mig + 1); }

/* Every call about the library or a device begins with one of these; both leave through OUT with the lock released. */
#define OUT(code) do { int result_ = (code); pthread_mutex_unlock(&lock); return result_; } while (0)
#define ENTER(gpu) pthread_mutex_lock(&lock); read_scenario(); \
    do { int code_ = failing(__func__, gpu); if (code_) OUT(code_); if (opened_generation != generation) OUT(1); } while (0)
#define ON(d) int gpu_ = (int)((d) >> 8 & 0xff), mig_ = (int)((d) & 0xff) - 1; card *c; \
    pthread_mutex_lock(&lock); read_scenario(); (void)mig_; \
    do { int code_ = failing(__func__, gpu_); if (code_) OUT(code_); if (opened_generation != generation) OUT(1); \
         if (((d) >> 16 & 0xffff) != (u64)generation) OUT(2); \
         c = card_of(gpu_, mig_); \
         if (!c) OUT(6); } while (0)

const char *nvmlErrorString(int code) { (void)code; return "simulated error"; }
int nvmlInitWithFlags(unsigned int flags) {
    (void)flags;
    pthread_mutex_lock(&lock); read_scenario();
    int code = failing("nvmlInitWithFlags", -2);
    if (!code) { /* like the driver, it stays open until whoever opened it last has closed it */
        openers = opened_generation == generation ? openers + 1 : 1;
        opened_generation = generation;
    }
    OUT(code);
}
int nvmlShutdown(void) { pthread_mutex_lock(&lock); if (--openers <= 0) { opened_generation = -1; openers = 0; } OUT(0); }
int nvmlSystemGetDriverVersion(char *text, unsigned int size) { ENTER(-2); snprintf(text, size, "%s", driver); OUT(0); }
int nvmlSystemGetCudaDriverVersion_v2(int *version) { ENTER(-2); *version = cuda; OUT(0); }
int nvmlDeviceGetCount_v2(unsigned int *count) {
    ENTER(-2);
    *count = 0;
    for (int i = 0; i < card_count; i++) *count += cards[i].mig < 0;
    OUT(0);
}
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, device *found) {
    ENTER(-2);
    for (int i = 0; i < card_count; i++) /* the driver numbers those that it lists without a gap */
        if (cards[i].mig < 0 && index-- == 0) { *found = handle(cards[i].gpu, -1); OUT(failing(__func__, cards[i].gpu)); }
    OUT(2);
}
int nvmlDeviceGetHandleByUUID(const char *uuid, device *found) {
    ENTER(-2);
    for (int i = 0; i < card_count; i++)
        if (!strcmp(cards[i].uuid, uuid)) { *found = handle(cards[i].gpu, cards[i].mig); OUT(failing(__func__, cards[i].gpu)); }
    OUT(6);
}
int nvmlDeviceGetIndex(device d, unsigned int *index) {
    ON(d);
    *index = 0;
    for (int i = 0; i < card_count && &cards[i] != c; i++) *index += cards[i].mig < 0;
    OUT(0);
}
int nvmlDeviceGetUUID(device d, char *text, unsigned int size) { ON(d); snprintf(text, size, "%s", c->uuid); OUT(0); }
int nvmlDeviceGetName(device d, char *text, unsigned int size) { ON(d); snprintf(text, size, "%s", c->name); OUT(0); }

static u64 held_on(const card *c) {
    u64 sum = 0;
    for (int i = 0; i < holder_count; i++) {
        if (holders[i].used == ~0ULL) continue;
        if (!strcmp(holders[i].uuid, c->uuid)) sum += holders[i].used;
        for (int k = 0; k < card_count && c->mig < 0; k++) /* what instances hold is held on their GPU too */
            if (cards[k].gpu == c->gpu && cards[k].mig >= 0 && !strcmp(holders[i].uuid, cards[k].uuid)) sum += holders[i].used;
    }
    return sum;
}
int nvmlDeviceGetMemoryInfo(device d, memory_v1 *m) {
    ON(d);
    u64 used = held_on(c) + c->reserved;
    m->total = c->total; m->used = used < c->total ? used : c->total; m->free = c->total - m->used;
    OUT(0);
}
int nvmlDeviceGetMemoryInfo_v2(device d, memory_v2 *m) {
    ON(d);
    if (m->version != 0x02000028) OUT(25);
    u64 used = held_on(c), room = c->total - c->reserved;
    m->total = c->total; m->reserved = c->reserved; m->used = used < room ? used : room; m->free = room - m->used;
    OUT(0);
}
int nvmlDeviceGetUtilizationRates(device d, utilization *u) { ON(d); u->gpu = (unsigned)c->util; u->memory = 0; OUT(0); }
int nvmlDeviceGetTemperature(device d, int sensor, unsigned int *t) { ON(d); (void)sensor; *t = (unsigned)c->temp; OUT(0); }
int nvmlDeviceGetCudaComputeCapability(device d, int *major, int *minor) { ON(d); *major = c->capability / 10; *minor = c->capability % 10; OUT(0); }
int nvmlDeviceGetPowerUsage(device d, unsigned int *milliwatts) { ON(d); *milliwatts = c->power; OUT(0); }
int nvmlDeviceGetEnforcedPowerLimit(device d, unsigned int *milliwatts) { ON(d); *milliwatts = c->limit; OUT(0); }
int nvmlDeviceGetClockInfo(device d, int type, unsigned int *mhz) { ON(d); *mhz = (unsigned)(type == 2 ? c->mem : c->sm); OUT(0); }
int nvmlDeviceGetCurrentClocksEventReasons(device d, u64 *bits) { ON(d); *bits = c->throttle; OUT(0); }
int nvmlDeviceGetCurrentClocksThrottleReasons(device d, u64 *bits) { ON(d); *bits = c->throttle; OUT(0); }
int nvmlDeviceGetTotalEccErrors(device d, int type, int counter, u64 *count) {
    ON(d);
    *count = type != 1 ? 0 : counter == 0 ? c->ecc_volatile : c->ecc_aggregate;
    OUT(0);
}
static int list(const card *c, int draws, unsigned int *count, process_info *found) {
    unsigned int there = 0, room = *count;
    for (int i = 0; i < holder_count; i++) {
        if (strcmp(holders[i].uuid, c->uuid) || (draws && !holders[i].draws)) continue;
        if (found && there < room) found[there] = (process_info){(unsigned)holders[i].pid, holders[i].used, ~0U, ~0U};
        there++;
    }
    *count = there;
    return there > room || (there && !found) ? 7 : 0; /* insufficient size */
}
int nvmlDeviceGetComputeRunningProcesses_v3(device d, unsigned int *n, process_info *p) { ON(d); OUT(list(c, 0, n, p)); }
int nvmlDeviceGetGraphicsRunningProcesses_v3(device d, unsigned int *n, process_info *p) { ON(d); OUT(list(c, 1, n, p)); }
int nvmlDeviceGetMPSComputeRunningProcesses_v3(device d, unsigned int *n, process_info *p) { ON(d); (void)p; *n = 0; OUT(0); }

int nvmlDeviceGetMigMode(device d, unsigned int *current, unsigned int *pending) {
    ON(d);
    *current = *pending = (unsigned)c->mig_on;
    OUT(0);
}
int nvmlDeviceGetMaxMigDeviceCount(device d, unsigned int *count) { ON(d); *count = c->mig_on ? 7 : 0; OUT(0); }
int nvmlDeviceGetMigDeviceHandleByIndex(device d, unsigned int place, device *found) {
    ON(d);
    if (!card_of(gpu_, (int)place)) OUT(6);
    *found = handle(gpu_, (int)place);
    OUT(0);
}

int nvmlEventSetCreate(void **set) { ENTER(-2); *set = &faults_told; faults_told = fault_count; OUT(0); }
int nvmlDeviceRegisterEvents(device d, u64 types, void *set) { ON(d); (void)types; (void)set; OUT(0); }
int nvmlEventSetFree(void *set) { (void)set; return 0; }
int nvmlEventSetWait_v2(void *set, event_data *data, unsigned int milliseconds) {
    (void)set; (void)milliseconds;
    ENTER(-2);
    if (faults_told >= fault_count) OUT(10);
    fault f = faults[faults_told++];
    *data = (event_data){handle(f.gpu, -1), 8, (u64)f.code, ~0U, ~0U};
    OUT(0);
}
