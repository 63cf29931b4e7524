/* A libnvidia-ml.so.1 with two GPUs, for tests of the real pynvml package. NVML_FAIL=<function>:<code> makes a function fail. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void *device;
typedef struct { unsigned long long total, free, used; } memory;
typedef struct { unsigned int gpu, memory; } utilization;
typedef struct { unsigned int pid; unsigned long long used; unsigned int gi, ci; } process;

static int failing(const char *name) {
    const char *wish = getenv("NVML_FAIL");
    size_t length = strlen(name);
    if (!wish || strncmp(wish, name, length) || wish[length] != ':') return 0;
    return atoi(wish + length + 1);
}
#define CHECK(name) do { int code = failing(name); if (code) return code; } while (0)

int nvmlInitWithFlags(unsigned int flags) { (void)flags; CHECK("init"); return 0; }
int nvmlInit_v2(void) { CHECK("init"); return 0; }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int code) { (void)code; return "simulated error"; }
int nvmlDeviceGetCount_v2(unsigned int *count) { CHECK("count"); *count = 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, device *found) {
    if (index == 1) CHECK("handle1");
    *found = (device)(unsigned long)(index + 1);
    return 0;
}
int nvmlDeviceGetUUID(device d, char *text, unsigned int length) {
    snprintf(text, length, "GPU-%lu", (unsigned long)d - 1);
    return 0;
}
int nvmlDeviceGetName(device d, char *text, unsigned int length) {
    (void)d;
    snprintf(text, length, "Simulated 24GB");
    return 0;
}
int nvmlDeviceGetMemoryInfo(device d, memory *m) {
    (void)d;
    CHECK("memory");
    m->total = 24ULL << 30; m->used = 4ULL << 30; m->free = 20ULL << 30;
    return 0;
}
int nvmlDeviceGetUtilizationRates(device d, utilization *u) { (void)d; CHECK("utilization"); u->gpu = 37; u->memory = 5; return 0; }
int nvmlDeviceGetTemperature(device d, int sensor, unsigned int *t) { (void)d; (void)sensor; *t = 55; return 0; }
int nvmlDeviceGetPowerUsage(device d, unsigned int *milliwatts) { (void)d; CHECK("power"); *milliwatts = 123500; return 0; }
int nvmlDeviceGetComputeRunningProcesses_v3(device d, unsigned int *count, process *found) {
    CHECK("processes");
    unsigned int there = (unsigned long)d == 1 ? 1 : 0, room = *count;
    *count = there;
    if (room < there) return 7; /* insufficient size */
    if (there) {
        const char *pid = getenv("NVML_PID");
        found[0].pid = pid ? atoi(pid) : 1;
        found[0].used = getenv("NVML_PROCESS_UNKNOWN") ? ~0ULL : 3ULL << 30;
        found[0].gi = found[0].ci = 0xFFFFFFFF;
    }
    return 0;
}
